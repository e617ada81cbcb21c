"""How the network is run: on which device, in which precision, compiled or not."""

import copy
import dataclasses
from typing import cast, get_args

import torch
from torch import nn

from saliency_core.errors import ArgumentError
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.cpu_layers import with_cpu_layers
from saliency_core.networks.options import Precision
from saliency_core.networks.precision import AUTOCAST, LowPrecision, arithmetic_of


def place(classifier: Classifier, device: torch.device | str, precision: Precision = "float32") -> Classifier:
    """Return a classifier that runs on a device, in the memory layout and precision that suit it there.

    Its network is a copy of the network as it was loaded, whatever was placed in between; what need not differ is
    shared by both. Some layers are replaced by faster ones of the same values (`pool_before_relu`,
    `saliency_core.networks.cpu_layers`).

    Parameters
    ----------
    classifier : Classifier
        Stays as it is.
    device : torch.device or str
    precision : Precision

    Returns
    -------
    Classifier
        Takes and returns float32, whatever it computes in.

    Raises
    ------
    ArgumentError
        If there is no such device, or it does not know the precision.

    Examples
    --------
    >>> from saliency_core import load_classifier, place
    >>> classifier = place(load_classifier("squeezenet1_1", "random"), "cpu", "bfloat16")
    >>> classifier.device.type, classifier.precision, place(classifier, "cpu").precision
    ('cpu', 'bfloat16', 'float32')
    """
    if precision not in get_args(Precision):
        raise ArgumentError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}")
    original = classifier.network if classifier.original is None else classifier.original
    network = _copy_that_shares_tensors(original)
    try:
        device = torch.device(device)
        network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ArgumentError(f"the network cannot be brought to the device {str(device)!r}: {reason}") from error
    if precision == "tf32" and device.type != "cuda":
        raise ArgumentError("precision tf32 is one of NVIDIA GPUs: choose float32 or bfloat16 on a CPU")
    pool_before_relu(network)
    if device.type == "cpu":
        network = with_cpu_layers(network)
    if precision in AUTOCAST:
        network = LowPrecision(network, precision)
    return dataclasses.replace(classifier, network=network, original=original, device=device, precision=precision)


def _copy_that_shares_tensors(network: nn.Module) -> nn.Module:
    """Copy the modules of a frozen network, but none of the numbers in them."""
    shared: dict[int, torch.Tensor] = {}
    with torch.inference_mode(False):
        for parameter in network.parameters():
            shared[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
        for buffer in network.buffers():
            shared[id(buffer)] = buffer.detach()
        return copy.deepcopy(network, shared)


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
    device, size = classifier.device, classifier.preprocessing.input_size
    # reduce-overhead replays CUDA graphs: no kernel waits for Python.
    mode = "reduce-overhead" if device.type == "cuda" else None
    try:
        network = cast(nn.Module, torch.compile(classifier.network, mode=mode, dynamic=False))
        with torch.inference_mode(False), torch.enable_grad(), arithmetic_of(classifier.precision):
            for _ in range(3 if mode else 1):  # the graph is recorded at the second call
                images = torch.zeros(batch_size, 3, size, size, device=device)
                images = images.to(memory_format=torch.channels_last).requires_grad_(True)
                logits = network(images)
                torch.autograd.grad(logits, images, grad_outputs=torch.ones_like(logits))
    except Exception as error:  # compilers fail in a hundred ways, and all of this works without
        reason = " ".join(str(error).split())[:300]
        return classifier, f"torch.compile failed, the network runs uncompiled: {type(error).__name__}: {reason}"
    return dataclasses.replace(classifier, network=network), None
