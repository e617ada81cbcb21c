"""Region contrast (RC): regions are salient whose colours differ from those of large regions close by.

References
----------
Cheng, Mitra, Huang, Torr, Hu, "Global Contrast based Salient Region Detection", TPAMI 2015, section 4, with
the constants and the order of steps of the code its authors published.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from skimage.color import rgb2lab
from skimage.segmentation import felzenszwalb

from saliency_core._arrays import min_max
from saliency_core.colour.quantisation import (
    QuantisedImage,
    blur_3x3,
    quantise_colours,
    smooth_over_similar_colours,
)
from saliency_core.superpixels.statistics import LabelMap, superpixel_means

SEGMENTATION_SIGMA = 0.5
SEGMENTATION_K = 50.0
SEGMENTATION_MINIMUM_SIZE = 200
"""Constants of the graph segmentation; sigma and size in pixels, k in Lab units."""

SPATIAL_FALLOFF = 0.4
"""sigma^2 of the spatial weight exp(-d^2 / sigma^2) between regions, d in image sizes."""

CENTRE_FALLOFF = 9.0
"""Factor k of the centre prior exp(-k d^2), d in image sizes."""

SIMILAR_FRACTION = 0.1
"""Share of the colours over which a colour's saliency is smoothed; histogram contrast takes 0.25."""

BORDER_FRACTION = 0.02
"""Width of the border band, in image sizes."""

BORDER_THRESHOLD = 0.4
"""Likelihood above which a region counts as cut off by the border."""


def region_contrast(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the region-contrast saliency map.

    The steps: colours are quantised and the image is segmented into regions; `contrast_of_regions`; the
    regions that the border cuts off, and the band along the border, become 0; each colour takes the mean
    saliency of its pixels, smoothed over the tenth of the colours most similar to it, in proportion to
    their pixels; each region takes the mean over its pixels, scaled to [0, 1]; the border becomes 0 again;
    a 3x3 Gaussian.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.

    Returns
    -------
    float32 array (H, W)
        Values in [0, 1]; all 0 for an image of one colour or one region.

    Raises
    ------
    ValueError
        If `image` is not a non-empty uint8 array (H, W, 3).

    Notes
    -----
    Two details decide the agreement with the maps that the authors published for ECSSD (mean correlation
    over the odd half: 0.998). Lab has to be computed exactly: the conversion of present OpenCV versions is
    off by a few tenths, which moves the segmentation (0.93). And the smoothing takes a tenth of the
    colours: a quarter, as in histogram contrast, gives 0.97.

    Examples
    --------
    >>> image = np.full((60, 80, 3), 90, np.uint8)
    >>> image[20:40, 30:50] = (220, 40, 40)
    >>> saliency = region_contrast(image)
    >>> saliency[30, 40], saliency[30, 10]
    (np.float32(1.0), np.float32(0.0))
    """
    quantised = quantise_colours(image)
    indices, colours, counts = quantised
    labels = segment_regions(rgb2lab(image))
    border = border_regions(labels)

    saliency = min_max(contrast_of_regions(labels, quantised))[labels]
    saliency[border] = 0
    of_colours = min_max(np.bincount(indices.ravel(), saliency.ravel()) / counts)
    of_colours = smooth_over_similar_colours(of_colours, cdist(colours, colours), SIMILAR_FRACTION, counts)
    saliency = min_max(superpixel_means(of_colours[indices], labels))[labels]
    saliency[border] = 0
    return blur_3x3(saliency)


def segment_regions(lab_image: NDArray[np.floating]) -> LabelMap:
    """Segment an image into regions by Felzenszwalb and Huttenlocher's graph method.

    Parameters
    ----------
    lab_image : float array (H, W, 3)
        CIE Lab image, L in 0..100.

    Returns
    -------
    int32 array (H, W)
        Labels 0..n-1, every one present; a region has at least 200 pixels, unless the image has fewer.

    References
    ----------
    Felzenszwalb & Huttenlocher, "Efficient Graph-Based Image Segmentation", IJCV 2004.

    Examples
    --------
    >>> lab = np.zeros((30, 40, 3))
    >>> lab[:, 20:] = (80, 20, 20)
    >>> np.unique(segment_regions(lab))
    array([0, 1], dtype=int32)
    """
    # Repeated edges, as in the original; scikit-image's own smoothing mirrors them.
    smoothed = gaussian_filter(lab_image, sigma=(SEGMENTATION_SIGMA, SEGMENTATION_SIGMA, 0), mode="nearest")
    # scikit-image divides the scale by 255, for images in [0, 1]; the multiplication undoes it.
    return felzenszwalb(smoothed, scale=SEGMENTATION_K * 255, sigma=0, min_size=SEGMENTATION_MINIMUM_SIZE).astype(
        np.int32
    )


def contrast_of_regions(labels: LabelMap, quantised: QuantisedImage) -> NDArray[np.float64]:
    """Compute the contrast of every region with all others.

    ``S_k = exp(-9 (a_x^2 + a_y^2)) sum_(i != k) n_i D(k, i) exp(-||c_k - c_i||^2 / 0.4)`` with the colour
    distance of two regions ``D(k, i) = sum_m sum_n f_km f_in ||colour_m - colour_n||``; n_i the pixels of
    region i, f its colour frequencies, c its centroid and a the mean absolute distance of its pixels from
    the image centre, both in coordinates divided by width and height.

    Parameters
    ----------
    labels : int32 array (H, W)
        Region of every pixel, 0..n-1.
    quantised : QuantisedImage

    Returns
    -------
    float64 array (n,)

    References
    ----------
    Cheng et al., TPAMI 2015, Eq. 5-7; the centre prior and the weights n_i as in the published code.
    """
    sizes = np.bincount(labels.ravel())
    colour_count = len(quantised.counts)
    pairs = labels.ravel() * colour_count + quantised.indices.ravel()
    frequencies = np.bincount(pairs, minlength=len(sizes) * colour_count).reshape(len(sizes), -1) / sizes[:, None]
    distances = frequencies @ cdist(quantised.colours, quantised.colours) @ frequencies.T

    relative = np.moveaxis(np.indices(labels.shape, np.float64), 0, -1) / labels.shape
    centroids = superpixel_means(relative, labels)
    contrast = distances * np.exp(-cdist(centroids, centroids, "sqeuclidean") / SPATIAL_FALLOFF)
    np.fill_diagonal(contrast, 0)  # a region has no contrast with itself

    centre_distances = superpixel_means(np.abs(relative - 0.5), labels)
    return contrast @ sizes * np.exp(-CENTRE_FALLOFF * (centre_distances**2).sum(axis=1))


def border_regions(labels: LabelMap) -> NDArray[np.bool_]:
    """Find the band along the image border and the regions that the border probably cuts off.

    A region is such a one if ``p_x / (4 h) / v_y + p_y / (4 w) / v_x > 0.4``; p_x and p_y are its pixels in
    the left and right band and in the top and bottom band, w and h the widths of these bands (2 % of the
    image's width and height), v_x and v_y the mean absolute deviations of its pixels from its centroid, all
    in pixels.

    Parameters
    ----------
    labels : int32 array (H, W)
        Region of every pixel, 0..n-1.

    Returns
    -------
    bool array (H, W)

    References
    ----------
    The code that the authors published; it pairs h with the left and right band, w with the top and bottom
    one.

    Examples
    --------
    >>> labels = np.zeros((100, 100), np.int32)
    >>> labels[40:60, 40:60] = 1
    >>> border_regions(labels)[50, 50], border_regions(labels)[50, 10]
    (np.False_, np.True_)
    """
    height, width = labels.shape
    gap_y, gap_x = round(height * BORDER_FRACTION), round(width * BORDER_FRACTION)
    bands_x = np.hstack([labels[:, :gap_x], labels[:, width - gap_x :]])
    bands_y = np.vstack([labels[:gap_y], labels[height - gap_y :]])
    count = int(labels.max()) + 1
    pixels_x = np.bincount(bands_x.ravel(), minlength=count)
    pixels_y = np.bincount(bands_y.ravel(), minlength=count)

    positions = np.moveaxis(np.indices(labels.shape, np.float64), 0, -1)
    centroids = superpixel_means(positions, labels)
    deviations = superpixel_means(np.abs(positions - centroids[labels]), labels)
    # A region one pixel wide deviates by 0; an image below 25 pixels has no band.
    deviation_y, deviation_x = np.maximum(deviations, 1e-200).T
    likelihood = pixels_x / (4 * max(gap_y, 1)) / deviation_y + pixels_y / (4 * max(gap_x, 1)) / deviation_x

    border = (likelihood > BORDER_THRESHOLD)[labels]
    border[:, :gap_x] = border[:, width - gap_x :] = True
    border[:gap_y] = border[height - gap_y :] = True
    return border
