"""What a network says about a batch of images: the common answer of all methods that ask one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1
"""Stands in a label array for "the class that the network recognises"."""


@dataclass(frozen=True)
class Attribution:
    """What a pass through the network says about a batch of B images.

    Parameters
    ----------
    raw : float32 array (B, S, S)
        Raw saliency at the network's input size, >= 0.
    label : int64 array (B,)
        The class that was erased.
    probability : float32 array (B,)
        Its softmax probability on the original image.
    logit_before : float32 array (B,)
        Its logit on the original image.
    logit_after : float32 array (B,)
        Its logit at the last forward pass, X(T-1): a pass at X(T) would be one more than the method needs.
    drift : float32 array (B,)
        Root mean square of the other logits' change, a_k - o_k, at the same pass: how well they were clamped.
    """

    raw: NDArray[np.float32]
    label: NDArray[np.int64]
    probability: NDArray[np.float32]
    logit_before: NDArray[np.float32]
    logit_after: NDArray[np.float32]
    drift: NDArray[np.float32]
