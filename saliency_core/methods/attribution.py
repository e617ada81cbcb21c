"""What a network says about a batch of images: the common answer of all methods that ask one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliency_core.errors import NotFiniteError

NO_LABEL = -1
"""Stands in a label array for "the class that the network recognises"."""


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class ImageAttribution:
    """What a pass through the network says about one image.

    Parameters
    ----------
    raw : float32 array (S, S) or (k, n)
        Raw saliency at the network's input size, finite, >= 0; of a method that looks at superpixels the maps of its k
        stages, one value for each of n superpixels.
    label : int, optional
        The class that was erased; None where no class was asked for.
    probability, logit_before, logit_after, drift : float, optional
        As in `Attribution`; finite. None without a class.
    evidence : tuple of float16 arrays (h, w)
    features : tuple of Features
        Without the axis B.
    """

    raw: NDArray[np.float32]
    label: int | None = None
    probability: float | None = None
    logit_before: float | None = None
    logit_after: float | None = None
    drift: float | None = None
    evidence: tuple[NDArray[np.float16], ...] = ()
    features: tuple[Features, ...] = ()


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a pass through the network says about a batch of B images.

    Parameters
    ----------
    raw : float32 array (B, S, S)
        Raw saliency at the network's input size, >= 0 where it is finite.
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

    def __getitem__(self, images: slice) -> "Attribution":
        """Return what is said of some images."""
        values: dict[str, Any] = {
            name: tuple(part[images] for part in value) if isinstance(value, tuple) else value[images]
            for name, value in vars(self).items()
        }
        return Attribution(**values)

    def image(self, index: int) -> ImageAttribution:
        """Return what is said about one image of the batch.

        Parameters
        ----------
        index : int

        Raises
        ------
        NotFiniteError
            If a number of this image is not finite; the others of the batch may be sound.
        """
        before = (self.probability[index], self.logit_before[index])
        if not np.isfinite(before).all():
            raise NotFiniteError(
                "the network's logits are not finite for this image: check its weights, or run it in a precision of a "
                "wider range (bfloat16 or float32)"
            )
        if not (np.isfinite((self.logit_after[index], self.drift[index])).all() and np.isfinite(self.raw[index]).all()):
            raise NotFiniteError(
                "the saliency map of this image is not finite: take a smaller epsilon or gamma, or run the network in "
                "a precision of a wider range (bfloat16 or float32)"
            )
        return ImageAttribution(
            raw=self.raw[index],
            label=int(self.label[index]),
            probability=float(self.probability[index]),
            logit_before=float(self.logit_before[index]),
            logit_after=float(self.logit_after[index]),
            drift=float(self.drift[index]),
            evidence=tuple(layer[index] for layer in self.evidence),
            features=tuple(layer[index] for layer in self.features),
        )


@dataclass(frozen=True, eq=False)
class SuperpixelAttribution:
    """What a method that looks at superpixels says about a batch of B images, whatever their class.

    Parameters
    ----------
    values : tuple of float32 arrays (k, n)
        One an image: the maps of the method's k stages, one value a superpixel, in [0, 1] where they are finite.
    features : tuple of Features
        As in `Attribution`.
    """

    values: tuple[NDArray[np.float32], ...]
    features: tuple[Features, ...] = ()

    def __getitem__(self, images: slice) -> "SuperpixelAttribution":
        """Return what is said of some images."""
        return SuperpixelAttribution(self.values[images], tuple(part[images] for part in self.features))

    def image(self, index: int) -> ImageAttribution:
        """Return what is said about one image of the batch.

        Raises
        ------
        NotFiniteError
            If a number of this image is not finite; the others of the batch may be sound.
        """
        if not np.isfinite(self.values[index]).all():
            raise NotFiniteError(
                "the saliency of this image's superpixels is not finite: check the network's weights, or run it in a "
                "precision of a wider range (bfloat16 or float32)"
            )
        return ImageAttribution(self.values[index], features=tuple(part[index] for part in self.features))
