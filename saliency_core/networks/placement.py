"""How the network is run: on which device, in which precision, compiled or not."""

import dataclasses
from typing import Any, cast

import torch
from torch import nn

from saliency_core.networks.classifier import Classifier
from saliency_core.networks.cpu_layers import with_cpu_layers
from saliency_core.networks.options import Precision

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}

_FLOAT16_SCALE = 1024.0
"""float16 has no numbers below 6e-8, and input gradients are that small: they are carried this much larger."""


class _Scale(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, factor: float) -> torch.Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient * ctx.factor, None


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
        self.kind = _AUTOCAST[precision]
        self.scale = _FLOAT16_SCALE if precision == "float16" else 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of normalised images (B, 3, S, S)."""
        if self.scale != 1.0:
            images = _Scale.apply(images, 1 / self.scale)
        with torch.autocast(images.device.type, self.kind):
            logits: torch.Tensor = self.network(images)
        logits = logits.float()
        return _Scale.apply(logits, self.scale) if self.scale != 1.0 else logits


def place(classifier: Classifier, device: torch.device | str, precision: Precision = "float32") -> Classifier:
    """Move a classifier to a device, in the memory layout and precision in which it is to run there.

    Parameters
    ----------
    classifier : Classifier
        Its network is moved, not copied, and some of its layers are replaced by faster ones of the same values
        (`pool_before_relu`, `saliency_core.networks.cpu_layers`).
    device : torch.device or str
    precision : Precision

    Returns
    -------
    Classifier
        Takes and returns float32, whatever it computes in.

    Raises
    ------
    ValueError
        If the device does not know the precision.

    Examples
    --------
    >>> from saliency_core import load_classifier, place
    >>> classifier = place(load_classifier("squeezenet1_1", "random"), "cpu", "bfloat16")
    """
    device = torch.device(device)
    if precision == "tf32" and device.type != "cuda":
        raise ValueError("precision tf32 is one of NVIDIA GPUs: choose float32 or bfloat16 on a CPU")
    # Of the process: cuDNN would take TF32 by itself, and float32 shall be float32.
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    network = classifier.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pool_before_relu(network)
    if device.type == "cpu":
        network = with_cpu_layers(network)
    if precision in _AUTOCAST:
        network = LowPrecision(network, precision)
    return dataclasses.replace(classifier, network=network)


def pool_before_relu(network: nn.Module) -> None:
    """Swap every ReLU with the max-pooling right behind it in a sequence: the same numbers from a quarter of the work.

    Both are monotonous, so that their order changes neither the output nor the gradient: where a window has no
    positive number, ReLU gives 0 and passes nothing back either way.

    Parameters
    ----------
    network : Module
        Changed in place; neither layer has parameters.
    """
    for sequence in network.modules():
        if isinstance(sequence, nn.Sequential):
            for index in range(len(sequence) - 1):
                first, second = sequence[index], sequence[index + 1]
                if type(first) is nn.ReLU and type(second) is nn.MaxPool2d and not second.return_indices:
                    sequence[index], sequence[index + 1] = second, first


def compiled_network(classifier: Classifier, batch_size: int) -> tuple[Classifier, str | None]:
    """Compile a classifier's network for batches of one size, and run it once forward and backward.

    Parameters
    ----------
    classifier : Classifier
        As `place` returned it.
    batch_size : int

    Returns
    -------
    classifier : Classifier
        The compiled one; the given one where that failed.
    warning : str or None
        Why it failed.
    """
    device = next(classifier.network.parameters()).device
    size = classifier.preprocessing.input_size
    # reduce-overhead replays CUDA graphs: no kernel waits for Python.
    mode = "reduce-overhead" if device.type == "cuda" else None
    try:
        network = cast(nn.Module, torch.compile(classifier.network, mode=mode, dynamic=False))
        with torch.inference_mode(False), torch.enable_grad():
            for _ in range(3 if mode else 1):  # the graph is recorded at the second call
                images = torch.zeros(batch_size, 3, size, size, device=device)
                images = images.to(memory_format=torch.channels_last).requires_grad_(True)
                logits = network(images)
                torch.autograd.grad(logits, images, grad_outputs=torch.ones_like(logits))
    except Exception as error:  # compilers fail in a hundred ways, and all of this works without
        reason = " ".join(str(error).split())[:300]
        return classifier, f"torch.compile failed, the network runs uncompiled: {type(error).__name__}: {reason}"
    return dataclasses.replace(classifier, network=network), None
