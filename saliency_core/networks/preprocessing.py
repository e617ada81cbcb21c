"""How a network wants its input. Nothing here needs torch."""

import math
from dataclasses import dataclass

from saliency_core.errors import ClassifierError


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its input.

    Parameters
    ----------
    input_size : int
        Side of the square input, in pixels.
    mean, std : tuple of three float
        Per-channel mean and standard deviation (R, G, B) of pixel values in [0, 1].
    """

    input_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int | float) for value in (*self.mean, *self.std))
        if not (numbers and len(self.mean) == len(self.std) == 3 and min(self.std) > 0):
            raise ClassifierError("mean and std must be three numbers each, std above 0")
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ClassifierError("mean and std must be finite numbers")
        if not isinstance(self.input_size, int) or self.input_size < 1:
            raise ClassifierError(f"the input size must be a whole number of pixels, 1 or more, not {self.input_size}")
