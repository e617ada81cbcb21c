"""In which arithmetic a network runs: lower precision of its layers, and float32 that is or is not rounded to TF32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from saliency_core.networks.options import Precision

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""The precisions that are a type of their own, in which torch.autocast runs the layers that bear it."""

_backends: Any = torch.backends  # typed without these
_BACKENDS = (
    _backends.cuda.matmul,
    _backends.cudnn.conv,
    _backends.cudnn.rnn,
    _backends.mkldnn.matmul,
    _backends.mkldnn.conv,
)


class LowPrecision(nn.Module):
    """A network that computes in bfloat16 or float16 and takes and returns float32.

    Parameters
    ----------
    network : Module
    precision : {"bfloat16", "float16"}
    """

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self.kind = AUTOCAST[precision]

    def forward(self, images: torch.Tensor, *further: torch.Tensor) -> torch.Tensor:
        """Return the logits of normalised images (B, 3, S, S), and of what else the network takes beside them."""
        with torch.autocast(images.device.type, self.kind):
            logits: torch.Tensor = self.network(images, *further)
        return logits.float()


@contextmanager
def arithmetic_of(precision: Precision) -> Iterator[None]:
    """Have products of float32 numbers rounded to TF32, or not, as a precision asks; afterwards all is as before.

    These are settings of the process, and cuDNN takes TF32 by itself: float32 shall be float32.

    Parameters
    ----------
    precision : Precision
        Only tf32 rounds.
    """
    # torch has an old and a new way to say this, whose values must agree: the getters of the old one raise where they
    # do not, as they may outside. The new one's tell all that the libraries look at.
    values = [backend.fp32_precision for backend in _BACKENDS]
    restore: list[Callable[[], None]] = []
    with suppress(RuntimeError):
        level = torch.get_float32_matmul_precision()
        restore.append(lambda: torch.set_float32_matmul_precision(level))
    with suppress(RuntimeError):
        cudnn = torch.backends.cudnn.allow_tf32
        restore.append(lambda: setattr(torch.backends.cudnn, "allow_tf32", cudnn))
    tf32 = precision == "tf32"
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        for backend in _BACKENDS:
            backend.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for undo in restore:
            undo()
        for backend, value in zip(_BACKENDS, values, strict=True):
            backend.fp32_precision = value
