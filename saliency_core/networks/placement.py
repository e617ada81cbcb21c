"""How the network is run: on which device, in which precision, compiled or not, and how many images at a time."""

import ctypes
import dataclasses
import sys
from typing import Any, cast

import torch
from torch import nn

from saliency_core.networks.classifier import Classifier
from saliency_core.networks.cpu_layers import with_cpu_layers
from saliency_core.networks.options import Precision

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}

_FLOAT16_SCALE = 1024.0
"""float16 has no numbers below 6e-8, and input gradients are that small: they are carried this much larger."""

MOST_IMAGES = 256
"""Images in a batch at most: larger ones were never seen to pay, and make a failure dearer."""
_SHARE_OF_FREE_MEMORY = 0.8
_MOST_BYTES_ON_A_CPU = 2**30

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Names of glibc's malloc.h."""


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


def images_on_a_cpu(classifier: Classifier) -> int:
    """Choose how many images a CPU takes at a time.

    More than 16 are hardly faster (docs/performance.md); fewer where a network would keep more than 1 GiB between its
    forward and its backward pass.

    Parameters
    ----------
    classifier : Classifier
        On a CPU.

    Returns
    -------
    int
        16, 8, 4, 2 or 1.
    """
    kept: dict[int, int] = {}

    def note(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return values

    parameters = {values.untyped_storage().data_ptr() for values in classifier.network.parameters()}
    size = classifier.preprocessing.input_size
    image = torch.zeros(1, 3, size, size, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values), torch.enable_grad():
        logits = classifier.network(image)  # while it lives, so does what it keeps: no two share an address
    an_image = sum(count for address, count in kept.items() if address not in parameters)
    del logits
    return next((images for images in (16, 8, 4, 2) if images * an_image <= _MOST_BYTES_ON_A_CPU), 1)


def reuse_freed_memory() -> None:
    """Have this process keep the memory that it frees, where the C library is glibc.

    By default glibc gives large blocks back to the system at once, and gets them again page by page: every step of a
    network on a CPU would wait for some ten thousand pages of zeros. It concerns the main thread: the heaps of others
    are given back whenever they are empty.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def images_that_fit(free: int, of_two: int, of_four: int) -> int:
    """Choose a batch size from the bytes that two and four images took.

    Parameters
    ----------
    free : int
        Bytes that are free beside the network's weights.
    of_two, of_four : int
        Most bytes in use during a pass over so many images, beside the weights.

    Returns
    -------
    int
        A multiple of 8 where there is room for 8, at least 1, at most `MOST_IMAGES`.

    Examples
    --------
    >>> images_that_fit(free=80_000, of_two=3_000, of_four=5_000), images_that_fit(3_000, 3_000, 5_000)
    (56, 1)
    """
    each = max((of_four - of_two) / 2, 1.0)
    fixed = max(of_two - 2 * each, 0.0)
    count = int(min((_SHARE_OF_FREE_MEMORY * free - fixed) / each, MOST_IMAGES))
    return count // 8 * 8 if count >= 8 else max(count, 1)


def even_part(images: int, most: int) -> int:
    """Return the size of the fewest parts of equal size, the last one smaller, that images can be done in.

    Parameters
    ----------
    images : int
    most : int
        Images that a part may have.

    Examples
    --------
    >>> even_part(96, 256), even_part(96, 64), even_part(96, 16)
    (96, 48, 16)
    """
    parts = -(-images // most)
    return -(-images // parts)
