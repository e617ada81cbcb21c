"""What a network says about a batch of images: the common answer of all methods that ask one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1
"""Stands in a label array for "the class that the network recognises"."""


@dataclass(frozen=True)
class Features:
    """Unit-length activations of one layer on a grid, in 8 bits: ``low + step * code``.

    Parameters
    ----------
    codes : uint8 array (B, h, w, C)
    scale : float32 array (B, 2)
        Low and step of each image.
    """

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32]

    def __getitem__(self, images: int | slice) -> "Features":
        return Features(self.codes[images], self.scale[images])


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
    evidence : tuple of float16 arrays (B, h, w)
        What the network's layers say of where the object is, finest first, each 0..1 (`methods.depths`). Empty where
        nobody asked, and where the network has no depths.
    features : tuple of Features
        How the network sees the parts of the image, a fine and a deep grid; empty as above.
    """

    raw: NDArray[np.float32]
    label: NDArray[np.int64]
    probability: NDArray[np.float32]
    logit_before: NDArray[np.float32]
    logit_after: NDArray[np.float32]
    drift: NDArray[np.float32]
    evidence: tuple[NDArray[np.float16], ...] = ()
    features: tuple[Features, ...] = ()

    def __getitem__(self, images: int | slice) -> "Attribution":
        """Return what is said of one image, without the axis B, or of some."""
        values: dict[str, Any] = {
            name: tuple(part[images] for part in value) if isinstance(value, tuple) else value[images]
            for name, value in vars(self).items()
        }
        return Attribution(**values)
