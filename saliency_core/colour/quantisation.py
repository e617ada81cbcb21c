"""The few colours of an image, which histogram contrast and region contrast both work on.

References
----------
Cheng, Mitra, Huang, Torr, Hu, "Global Contrast based Salient Region Detection", TPAMI 2015, section 3.2
(quantisation and colour space smoothing), and the code its authors published with it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve
from skimage.color import rgb2lab

from saliency_core._arrays import check_rgb, min_max

BINS_PER_CHANNEL = 12
COVERED_FRACTION = 0.95
MAXIMUM_COLOURS = 256
MINIMUM_COLOURS = 10

GAUSSIAN_3X3 = np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25])


class QuantisedImage(NamedTuple):
    """An image in few colours, the most frequent one first.

    Parameters
    ----------
    indices : int array (H, W)
        Colour of every pixel, 0..n-1, every colour present.
    colours : float64 array (n, 3)
        CIE Lab colours, L in 0..100.
    counts : int array (n,)
        Pixels of each colour.
    """

    indices: NDArray[np.intp]
    colours: NDArray[np.float64]
    counts: NDArray[np.intp]


def quantise_colours(image: NDArray[np.uint8]) -> QuantisedImage:
    """Reduce an image to its frequent colours.

    Every channel is cut into 12 bins. The rarest bins are dropped as long as they hold less than 5 % of the
    pixels together; 256 colours at most are kept, and at least 10 where the image has so many. The pixels
    of a dropped bin join the kept bin that is nearest in bin space. A colour is the mean sRGB value of its
    pixels, converted to Lab.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.

    Returns
    -------
    QuantisedImage

    Raises
    ------
    ValueError
        If `image` is not a non-empty uint8 array (H, W, 3).

    Examples
    --------
    >>> image = np.zeros((10, 10, 3), np.uint8)
    >>> image[:2] = 255
    >>> quantised = quantise_colours(image)
    >>> quantised.counts, quantised.colours[:, 0].round()
    (array([80, 20]), array([  0., 100.]))
    """
    check_rgb(image)
    # A little less than 12 bins, so that the value 255 falls into the last one.
    bin_of_value = (np.arange(256) / 255 * (BINS_PER_CHANNEL - 1e-4)).astype(np.intp)
    red, green, blue = np.moveaxis(bin_of_value[image], -1, 0)
    # The authors' channel order is blue, green, red; it decides between bins of equal count.
    codes = ((blue * BINS_PER_CHANNEL + green) * BINS_PER_CHANNEL + red).ravel()
    bins, bin_of_pixel, bin_counts = np.unique(codes, return_inverse=True, return_counts=True)
    by_frequency = np.lexsort((-bins, -bin_counts))

    kept_count = _kept_count(bin_counts[by_frequency])
    coordinates = np.stack(np.unravel_index(bins, (BINS_PER_CHANNEL,) * 3), axis=1)[by_frequency]
    squared_distances = ((coordinates[:, None] - coordinates[None, :kept_count]) ** 2).sum(axis=2)
    colour_of_bin = np.empty(len(bins), np.intp)
    # A kept bin is at distance 0 from itself alone; of equally near ones the more frequent is taken.
    colour_of_bin[by_frequency] = squared_distances.argmin(axis=1)
    indices = colour_of_bin[bin_of_pixel.ravel()]

    counts = np.bincount(indices, minlength=kept_count)
    pixels = image.reshape(-1, 3) / 255
    means = np.stack([np.bincount(indices, pixels[:, c], kept_count) / counts for c in range(3)], axis=1)
    return QuantisedImage(indices.reshape(image.shape[:2]), rgb2lab(means), counts)


def _kept_count(descending_counts: NDArray[np.intp]) -> int:
    """Return how many of the bins, most frequent first, are kept as colours."""
    droppable_pixels = round(int(descending_counts.sum()) * (1 - COVERED_FRACTION))
    dropped_pixels = np.cumsum(descending_counts[::-1])
    kept = len(descending_counts) - int(np.count_nonzero(dropped_pixels < droppable_pixels))
    return min(max(min(kept, MAXIMUM_COLOURS), MINIMUM_COLOURS), len(descending_counts))


def smooth_over_similar_colours(
    saliency: NDArray[np.float64],
    distances: NDArray[np.float64],
    fraction: float,
    weights: NDArray[np.number],
) -> NDArray[np.float64]:
    """Smooth the saliency of colours over the most similar colours, then scale it to [0, 1].

    With m = max(fraction n, 2) nearest colours j of colour i (i among them) and ``T = sum_j d_ij``, the
    smoothed value is ``sum_j (T - d_ij) w_j s_j / (T sum_j w_j)``.

    Parameters
    ----------
    saliency : float64 array (n,)
    distances : float64 array (n, n)
        Euclidean distances between the Lab colours.
    fraction : float
        Share of the colours that count as similar.
    weights : array (n,)
        Weight of each colour, all above 0.

    Returns
    -------
    float64 array (n,)
        Values in [0, 1]. A single colour has nothing to contrast with: 0.

    References
    ----------
    Cheng et al., TPAMI 2015, Eq. 4; the weights are those of the published code.

    Examples
    --------
    >>> distances = np.array([[0.0, 1.0, 9.0], [1.0, 0.0, 8.0], [9.0, 8.0, 0.0]])
    >>> smooth_over_similar_colours(np.array([0.2, 0.4, 1.0]), distances, 0.1, np.ones(3))
    array([0.  , 0.25, 1.  ])
    """
    count = len(saliency)
    if count < 2:
        return np.zeros_like(saliency)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : max(round(count * fraction), 2)]
    near_distances = np.take_along_axis(distances, nearest, axis=1)
    totals = near_distances.sum(axis=1)
    near_weights = weights[nearest]
    numerator = ((totals[:, None] - near_distances) * near_weights * saliency[nearest]).sum(axis=1)
    return min_max(numerator / (totals * near_weights.sum(axis=1)))


def blur_3x3(saliency: NDArray[np.floating]) -> NDArray[np.float32]:
    """Blur a map (H, W) with the 3x3 binomial kernel, the last step of both methods."""
    # "mirror" does not repeat the edge row: OpenCV's default border, which the authors' code uses.
    return convolve(saliency.astype(np.float32), GAUSSIAN_3X3, mode="mirror")
