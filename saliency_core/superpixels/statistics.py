"""SLIC superpixels and statistics over them, by counting."""

import numpy as np
import skimage.segmentation
from numpy.typing import NDArray

from saliency_core._arrays import check_labels, check_rgb
from saliency_core.colour.lab import LabPlanes, lab_planes
from saliency_core.parameters import SlicCode, SuperpixelParameters
from saliency_core.superpixels.slic import slic

LabelMap = NDArray[np.int32]
"""Superpixel labels (H, W), values 0..n-1, every value present."""


def slic_superpixels(
    image: NDArray[np.uint8],
    segments: int = 100,
    compactness: float = 10.0,
    code: SlicCode = "compiled",
    lab: LabPlanes | None = None,
) -> LabelMap:
    """Partition an image into SLIC superpixels.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.
    segments : int
        Number of superpixels asked for. SLIC returns fewer (about 70 of 100 on a 400x300 photograph):
        count the labels, never assume this number.
    compactness : float
        Weight of the distance in the image plane against the distance in Lab colour.
    code : {"compiled", "scikit-image"}
        This project's own, or scikit-image's: the reference. That one differs in its search window, twice as wide
        and high as the paper's, and in stretching each image to its own minimum..maximum first.
    lab : float32 array (3, H, W), optional
        The image's CIE Lab where it is known already.

    Returns
    -------
    int32 array (H, W)
        Labels 0..n-1, every one present, each a 4-connected region.

    Raises
    ------
    ArgumentError
        If the image is no uint8 array (H, W, 3), or a number or the code cannot be used.

    References
    ----------
    Pan & Jiang, arXiv 1602.00577, section 3.2: 100 superpixels, compactness 10. Achanta et al., "SLIC
    Superpixels Compared to State-of-the-art Superpixel Methods", TPAMI 2012.

    Examples
    --------
    >>> image = np.zeros((60, 80, 3), np.uint8)
    >>> image[:, 40:] = 255
    >>> labels = slic_superpixels(image, segments=12)
    >>> labels.shape, int(labels.min()), bool(len(np.unique(labels)) == labels.max() + 1)
    ((60, 80), 0, True)
    """
    check_rgb(image)
    asked = SuperpixelParameters(segments, compactness, code)
    height, width = image.shape[:2]
    segments = min(asked.segments, height * width)
    if code == "compiled":
        return slic(lab_planes(image) if lab is None else lab, segments, compactness)
    labels = skimage.segmentation.slic(
        image, n_segments=segments, compactness=compactness, start_label=0, channel_axis=-1
    )
    return labels.astype(np.int32)


def count_superpixels(labels: LabelMap) -> int:
    """Return the number of superpixels n of a label map with values 0..n-1."""
    return int(labels.max()) + 1


def superpixel_means(values: NDArray[np.floating], labels: LabelMap) -> NDArray[np.float64]:
    """Average per-pixel values over every superpixel.

    Parameters
    ----------
    values : float array (H, W) or (H, W, C)
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.

    Returns
    -------
    float64 array (n,) or (n, C)

    Raises
    ------
    ArgumentError
        If the labels are no whole numbers from 0 on, or of another height and width.

    Examples
    --------
    >>> superpixel_means(np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([[0, 0], [1, 1]], np.int32))
    array([2., 5.])
    """
    check_labels(labels, values.shape[:2])
    flat = labels.ravel()
    areas = np.bincount(flat)
    channels = values.reshape(flat.size, -1)
    sums = np.stack([np.bincount(flat, weights=channels[:, c]) for c in range(channels.shape[1])], axis=-1)
    means = sums / areas[:, None]
    return means[:, 0] if values.ndim == 2 else means


def superpixel_centroids(labels: LabelMap) -> NDArray[np.float64]:
    """Return the centroid of every superpixel in relative coordinates.

    Parameters
    ----------
    labels : int32 array (H, W)

    Returns
    -------
    float64 array (n, 2)
        (y, x) of the mean pixel centre, divided by height and width, each in (0, 1).

    Examples
    --------
    >>> superpixel_centroids(np.zeros((2, 4), np.int32))
    array([[0.5, 0.5]])
    """
    check_labels(labels)
    height, width = labels.shape
    y = np.repeat((np.arange(height) + 0.5) / height, width)
    x = np.tile((np.arange(width) + 0.5) / width, height)
    return np.stack([superpixel_means(side.reshape(height, width), labels) for side in (y, x)], axis=-1)
