"""From the raw map to the refined one: prune and normalise, smooth over superpixels, refine (Eq. 4 and 6)."""

import numpy as np
from numpy.typing import NDArray

from saliency_core._arrays import check_labels, check_map
from saliency_core.errors import ArgumentError
from saliency_core.parameters import RefinementParameters
from saliency_core.superpixels.statistics import LabelMap, superpixel_means

SaliencyMap = NDArray[np.float32]
"""Saliency (H, W), values >= 0."""


def prune_and_normalise(saliency: NDArray[np.floating], theta: float) -> SaliencyMap:
    """Cut weak saliency away and scale the rest to unit L2 norm, in Algorithm 1's order.

    Parameters
    ----------
    saliency : float array (H, W)
        Values >= 0.
    theta : float
        Threshold as a fraction of the map's maximum, in [0, 1).

    Returns
    -------
    float32 array (H, W)
        ``max(S - theta max S, 0)`` divided by its L2 norm; all zeros stay all zeros.

    Examples
    --------
    >>> prune_and_normalise(np.array([[0.0, 1.0], [2.0, 5.0]]), theta=0.2)
    array([[0.        , 0.        ],
           [0.24253562, 0.9701425 ]], dtype=float32)
    """
    check_map(saliency)
    pruned = np.maximum(saliency.astype(np.float64) - theta * float(saliency.max()), 0.0)
    norm = np.sqrt((pruned**2).sum())
    return (pruned / norm if norm > 0 else pruned).astype(np.float32)


def smooth(saliency: NDArray[np.floating], labels: LabelMap) -> SaliencyMap:
    """Give every pixel the mean saliency of its superpixel (Eq. 4).

    Parameters
    ----------
    saliency : float array (H, W)
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.

    Returns
    -------
    float32 array (H, W)

    Examples
    --------
    >>> smooth(np.array([[0.0, 2.0, 7.0]]), np.array([[0, 0, 1]], np.int32))
    array([[1., 1., 7.]], dtype=float32)
    """
    return superpixel_means(saliency, labels).astype(np.float32)[labels]


def refine(
    smoothed: SaliencyMap,
    low_level: NDArray[np.float32],
    labels: LabelMap,
    parameters: RefinementParameters = RefinementParameters(),
) -> SaliencyMap:
    """Multiply the smoothed map by the low-level saliency, prune and normalise (Eq. 6).

    Parameters
    ----------
    smoothed : float32 array (H, W)
    low_level : float32 array (n,)
        Low-level saliency of every superpixel in [0, 1]; alpha is added here.
    labels : int32 array (H, W)
        Superpixel labels 0..n-1.
    parameters : RefinementParameters

    Returns
    -------
    float32 array (H, W)
        Unit L2 norm, or all zeros where nothing is left.
    """
    check_labels(labels, smoothed.shape)
    if low_level.shape != (labels.max() + 1,):
        raise ArgumentError(f"{labels.max() + 1} superpixels need as many low-level values, not {low_level.shape}")
    refined = smoothed * (low_level + np.float32(parameters.alpha))[labels]
    return prune_and_normalise(refined, parameters.theta_refined)
