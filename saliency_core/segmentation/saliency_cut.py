"""SaliencyCut: a segmentation of the salient object from any saliency map, by repeated GrabCut."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from saliency_core._arrays import check_map, check_rgb, min_max
from saliency_core.errors import ArgumentError

BACKGROUND_THRESHOLD = 0.1
"""Saliency below which a pixel is known background."""

FOREGROUND_THRESHOLDS = (0.9, 0.7, 0.5, 0.3)
"""Saliency above which a pixel is known foreground; the next one is tried where the last gave no object."""

START_THRESHOLD = 70 / 255
"""Saliency from which a pixel can belong to the part that the cut starts from, and is first taken as foreground."""

START_SHARE = 0.005
OBJECT_SHARE = 0.02
"""Least share of the area that the starting part (weighted by its saliency) and the object must hold."""

BORDER_FRACTION = 0.02
"""Width of the band along the image border that is always background."""

WINDOW_MARGIN = 20
"""Pixels around the starting part that the cut looks at."""

ROUNDS = 4
UNCHANGED_PIXELS = 10
"""The rounds end once fewer pixels than this change."""

CUTS_PER_ROUND = 8
SETTLED_PIXELS = 50
"""The cuts of one round end once no more pixels than this change."""

UNKNOWN_BAND = 5
"""Pixels on both sides of the last outline that the next round decides anew."""

SMALLEST_SAMPLE = 50
"""Least number of pixels that a colour model is learnt from, and that an eroded object must keep."""

SEED = 0


def saliency_cut(image: NDArray[np.uint8], saliency_map: NDArray[np.number]) -> NDArray[np.bool_]:
    """Segment the salient object.

    The map is blurred with a 9x9 Gaussian, scaled to [0, 1] and set to 0 along the border. Around its most
    salient connected part, pixels below the background threshold and above the foreground threshold are
    given to GrabCut as known, the others as unknown. Up to four rounds follow: GrabCut; the largest part of
    its result is kept; the band of five pixels on both sides of its outline is the next round's unknown. If
    a round leaves no object of 2 % of the window, all is tried again with a lower foreground threshold.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        sRGB image.
    saliency_map : float or integer array (H, W)
        Saliency in any range.

    Returns
    -------
    bool array (H, W)
        True on the object. All False where nothing is salient: a constant map, no part large enough, or no
        object after the last try.

    Raises
    ------
    ArgumentError
        If the shapes or dtypes are others, or the map holds NaN or infinite values.

    Notes
    -----
    Equal input gives equal output: the seed of OpenCV's random generator, which belongs to the calling
    thread, is set at the start. The authors weigh the pixels of their first colour models by saliency. OpenCV's
    GrabCut knows no weights: the first models are learnt from the pixels at and above the start threshold, as
    foreground, and from the others, as background.

    References
    ----------
    Cheng, Mitra, Huang, Torr, Hu, "Global Contrast based Salient Region Detection", TPAMI 2015, section 5;
    constants as in the authors' published code. Rother, Kolmogorov, Blake, "GrabCut", SIGGRAPH 2004.

    Examples
    --------
    >>> image = np.full((100, 120, 3), 90, np.uint8)
    >>> image[30:70, 40:80] = (220, 40, 40)
    >>> saliency = np.zeros((100, 120), np.float32)
    >>> saliency[28:72, 38:82] = 0.5
    >>> saliency[40:60, 50:70] = 1
    >>> mask = saliency_cut(image, saliency)
    >>> int(mask.sum()), int(mask[30:70, 40:80].sum())
    (1600, 1600)
    """
    check_rgb(image)
    if saliency_map.shape != image.shape[:2]:
        raise ArgumentError(f"the map has shape {saliency_map.shape}, but the image {image.shape[:2]}; resize the map")
    check_map(saliency_map)
    cv2.setRNGSeed(SEED)

    height, width = saliency_map.shape
    gap_y, gap_x = round(BORDER_FRACTION * height), round(BORDER_FRACTION * width)
    border = np.ones((height, width), bool)
    border[gap_y : height - gap_y, gap_x : width - gap_x] = False
    blurred = cv2.GaussianBlur(saliency_map.astype(np.float64), (9, 9), 0)
    saliency = min_max(np.asarray(blurred, np.float64))
    saliency[border] = 0

    start = largest_part(np.where(saliency >= START_THRESHOLD, saliency, 0), START_SHARE)
    segmented = np.zeros(saliency.shape, bool)
    if not start.any():
        return segmented
    window = _window_around(start)
    for foreground_threshold in FOREGROUND_THRESHOLDS:
        found = _cut_in_rounds(image[window], saliency[window], border[window], foreground_threshold)
        if found.any():
            segmented[window] = found
            break
    return segmented


def largest_part(weights: NDArray[np.floating], minimum_share: float) -> NDArray[np.bool_]:
    """Find the 4-connected part of the non-zero pixels whose weights have the largest sum.

    Parameters
    ----------
    weights : float array (H, W)
        Weights in [0, 1].
    minimum_share : float
        The sum must be above this share of the number of pixels H W.

    Returns
    -------
    bool array (H, W)
        The part; all False where none is large enough.

    Examples
    --------
    >>> largest_part(np.array([[1.0, 0.0, 0.6], [0.0, 0.0, 0.6]]), 0.1)
    array([[False, False,  True],
           [False, False,  True]])
    """
    parts, _ = label(weights > 0)
    sums = np.bincount(parts.ravel(), weights.ravel())  # part 0 is the rest, whose sum is 0
    largest = int(sums.argmax())
    if sums[largest] <= minimum_share * weights.size:
        return np.zeros(weights.shape, bool)
    return parts == largest


def _window_around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(rows[0]) - WINDOW_MARGIN, 0), int(rows[-1]) + WINDOW_MARGIN + 1),
        slice(max(int(columns[0]) - WINDOW_MARGIN, 0), int(columns[-1]) + WINDOW_MARGIN + 1),
    )


def _cut_in_rounds(
    image: NDArray[np.uint8],
    saliency: NDArray[np.float64],
    border: NDArray[np.bool_],
    foreground_threshold: float,
) -> NDArray[np.bool_]:
    """Cut and cut again around the last outline; all False where a round leaves no object."""
    trimap = np.where(saliency >= START_THRESHOLD, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[saliency < BACKGROUND_THRESHOLD] = cv2.GC_BGD
    trimap[saliency > foreground_threshold] = cv2.GC_FGD
    previous: NDArray[np.bool_] | None = None
    for _ in range(ROUNDS):
        segmented = largest_part(_grab_cut(image, trimap).astype(float), OBJECT_SHARE)
        if not segmented.any():
            return segmented
        if previous is not None and np.count_nonzero(segmented != previous) < UNCHANGED_PIXELS:
            return segmented
        trimap = _trimap_around(segmented, border)
        previous = segmented
    return segmented


def _trimap_around(segmented: NDArray[np.bool_], border: NDArray[np.bool_]) -> NDArray[np.uint8]:
    mask = segmented.astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    dilated = cv2.dilate(mask, square, iterations=UNKNOWN_BAND)
    eroded = cv2.erode(mask, square, iterations=UNKNOWN_BAND)
    if np.count_nonzero(eroded) < SMALLEST_SAMPLE:
        eroded = mask
    trimap = np.full(mask.shape, cv2.GC_BGD, np.uint8)
    trimap[dilated > 0] = cv2.GC_PR_FGD
    trimap[eroded > 0] = cv2.GC_FGD
    trimap[border] = cv2.GC_BGD
    return trimap


def _grab_cut(image: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Run GrabCut until it settles; with too few pixels for a colour model the trimap's foreground stands."""
    foreground = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    foreground_count = int(foreground.sum())
    if min(foreground_count, foreground.size - foreground_count) < SMALLEST_SAMPLE:
        return foreground
    # The models are OpenCV's 65 numbers each: five Gaussians over RGB.
    background_model, foreground_model = np.zeros((1, 65)), np.zeros((1, 65))
    states = trimap.copy()
    pixels = np.ascontiguousarray(image)
    for cut in range(CUTS_PER_ROUND):
        mode = cv2.GC_INIT_WITH_MASK if cut == 0 else cv2.GC_EVAL
        cv2.grabCut(pixels, states, (0, 0, 0, 0), background_model, foreground_model, 1, mode)
        last = foreground
        foreground = (states == cv2.GC_FGD) | (states == cv2.GC_PR_FGD)
        if np.count_nonzero(foreground != last) <= SETTLED_PIXELS:
            break
    return foreground
