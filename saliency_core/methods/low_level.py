"""Low-level saliency of superpixels: global colour contrast, centre prior, colour distribution (Eq. 5).

The paper takes these steps from Fu et al. (2013), whose equations are not reproduced in it. The centre
prior, the smoothing in colour space and the colour distribution here are published stand-ins, named in
each function.
"""

import numpy as np
from numpy.typing import NDArray

from saliency_core._arrays import check_labels, min_max
from saliency_core.colour.lab import LabPlanes, lab_planes
from saliency_core.parameters import LowLevelParameters
from saliency_core.superpixels.statistics import LabelMap, superpixel_centroids, superpixel_means

_SAME_COLOUR = 1e-6
"""Lab distance below which two mean colours differ by the rounding of their sums alone."""


def global_contrast(colour_distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum every superpixel's colour distances to all others (Eq. 5).

    Parameters
    ----------
    colour_distances : float64 array (n, n)
        Euclidean distances between the superpixels' mean Lab colours.

    Returns
    -------
    float64 array (n,)
    """
    return colour_distances.sum(axis=1)


def centre_prior(centroids: NDArray[np.float64], falloff: float = 9.0) -> NDArray[np.float64]:
    """Weigh superpixels by the distance of their centroid from the image centre: exp(-falloff d^2).

    Parameters
    ----------
    centroids : float64 array (n, 2)
        Centroids in coordinates divided by height and width.
    falloff : float
        The 9 of Cheng et al., "Global Contrast based Salient Region Detection", TPAMI 2015.

    Returns
    -------
    float64 array (n,)
        Weights in (0, 1].
    """
    squared_distance = ((centroids - 0.5) ** 2).sum(axis=1)
    return np.exp(-falloff * squared_distance)


def smooth_in_colour_space(contrast: NDArray[np.float64], colour_distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace each contrast by a weighted mean over the nearest quarter of the colours.

    The weight of colour j for i among the m = n / 4 (at least 2) nearest, i itself included, is
    ``(T - d_ij) / ((m - 1) T)`` with ``T = sum_j d_ij``: the weights of one i sum to 1.

    Parameters
    ----------
    contrast : float64 array (n,)
    colour_distances : float64 array (n, n)

    Returns
    -------
    float64 array (n,)

    References
    ----------
    Cheng et al., "Global Contrast based Salient Region Detection", TPAMI 2015, colour space smoothing.
    """
    count = len(contrast)
    nearest_count = max(count // 4, 2)
    if count < 2:
        return contrast.copy()
    nearest = np.argsort(colour_distances, axis=1, kind="stable")[:, :nearest_count]
    distances = np.take_along_axis(colour_distances, nearest, axis=1)
    totals = distances.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = (totals - distances) / ((nearest_count - 1) * totals)
    # Colours that are all the same: the limit of the formula is the plain mean.
    weights = np.where(totals > 0, weights, 1.0 / nearest_count)
    return (weights * contrast[nearest]).sum(axis=1)


def colour_distribution(
    colour_distances: NDArray[np.float64], centroids: NDArray[np.float64], colour_sigma: float = 20.0
) -> NDArray[np.float64]:
    """Measure how widely each superpixel's colour is spread over the image.

    Parameters
    ----------
    colour_distances : float64 array (n, n)
    centroids : float64 array (n, 2)
        Positions in [0, 1].
    colour_sigma : float
        Width of the Gaussian in colour, in Lab units.

    Returns
    -------
    float64 array (n,)
        Spatial variance of the colour, min-max scaled to [0, 1]; 0 is the most compact.

    References
    ----------
    Perazzi et al., "Saliency Filters", CVPR 2012, element distribution.
    """
    weights = np.exp(-(colour_distances**2) / (2 * colour_sigma**2))
    weights /= weights.sum(axis=1, keepdims=True)
    mean_positions = weights @ centroids
    squared_offsets = ((centroids[None, :, :] - mean_positions[:, None, :]) ** 2).sum(axis=2)
    return min_max((weights * squared_offsets).sum(axis=1))


def low_level_saliency(
    image: NDArray[np.uint8],
    labels: LabelMap,
    parameters: LowLevelParameters = LowLevelParameters(),
    lab: LabPlanes | None = None,
) -> NDArray[np.float32]:
    """Compute the low-level saliency of every superpixel, before alpha is added.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.
    parameters : LowLevelParameters
    lab : float32 array (3, H, W), optional
        The image's CIE Lab where it is known already.

    Returns
    -------
    float32 array (n,)
        One value a superpixel in [0, 1]; all 0 for an image of one colour.

    References
    ----------
    Pan & Jiang, arXiv 1602.00577, section 3.3 and Eq. 5.

    Examples
    --------
    >>> image = np.full((40, 40, 3), 200, np.uint8)
    >>> image[10:30, 10:30] = (200, 30, 30)
    >>> labels = np.zeros((40, 40), np.int32)
    >>> labels[10:30, 10:30], labels[10:30, 30:] = 1, 2
    >>> low_level_saliency(image, labels)
    array([0., 1., 0.], dtype=float32)
    """
    check_labels(labels, image.shape[:2])
    planes = lab_planes(image) if lab is None else lab
    colours = np.stack([superpixel_means(plane, labels) for plane in planes], axis=-1)
    centroids = superpixel_centroids(labels)
    distances = np.sqrt(((colours[:, None, :] - colours[None, :, :]) ** 2).sum(axis=2))
    distances[distances < _SAME_COLOUR] = 0.0
    contrast = global_contrast(distances) * centre_prior(centroids, parameters.centre_falloff)
    contrast = smooth_in_colour_space(contrast, distances)
    spread = colour_distribution(distances, centroids, parameters.colour_sigma)
    saliency = contrast * np.exp(-parameters.distribution_falloff * spread)
    return min_max(saliency).astype(np.float32)
