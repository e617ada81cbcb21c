"""Layers that take torch long on a CPU, with the same values and the same gradient to their input computed otherwise.

Measured in docs/performance.md. All are for frozen networks, of which only the image's gradient is wanted.

- The first convolution, where it has a stride. Libraries take its gradient as one product for each of the kernel's
  pixels, three numbers wide. By phase it is one convolution of stride 1: the pixels whose row and column leave the same
  remainder by the stride are reached by the same part of the kernel.
- The average over the whole image. Its gradient is one number a channel; torch writes it out for all pixels in the
  other memory layout, which costs the layer before it several times as long as the average itself.
- Convolutions of one pixel. Below 16 images on one thread torch takes them out of oneDNN, to a way of its own that is
  two to three times as slow.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- as in torch's own documentation
from torch import nn


class InputConvolution(nn.Conv2d):
    """A strided convolution whose parameters are frozen, with the gradient to its input taken by phase."""

    @classmethod
    def of(cls, layer: nn.Conv2d) -> "InputConvolution":
        """Make one that shares the parameters of `layer`."""
        new = cls(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            bias=layer.bias is not None,
            device="meta",
        )
        new.weight, new.bias = layer.weight, layer.bias
        return new.train(layer.training)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the convolution of images (B, C, H, W)."""
        found: torch.Tensor = _ByPhase.apply(images, self.weight, self.bias, self.stride, self.padding)
        return found


class _ByPhase(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.like, ctx.stride, ctx.padding = (images.shape[2:], images.dtype), stride, padding
        return F.conv2d(images, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (weight,) = ctx.saved_tensors
        size, dtype = ctx.like
        found = _input_gradient(gradient, weight.to(gradient.dtype), ctx.stride, ctx.padding, size)
        return found.to(dtype), None, None, None, None


def _input_gradient(
    gradient: torch.Tensor,
    weight: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    size: tuple[int, int],
) -> torch.Tensor:
    """Return the gradient to an input of `size` (height, width) from that to the output.

    Padded input pixel ``s * i + p`` of phase p is reached by the kernel's pixels ``s * a + p`` from the outputs i - a.
    """
    outputs, channels, *kernel = weight.shape
    rows, columns = stride
    taps = [-(-length // step) for length, step in zip(kernel, stride, strict=True)]
    whole = F.pad(weight, (0, taps[1] * columns - kernel[1], 0, taps[0] * rows - kernel[0]))
    # (O, C, a, p, b, q) to (p, q, C) by O by (a, b); a convolution of torch correlates, hence the flip.
    phases = whole.reshape(outputs, channels, taps[0], rows, taps[1], columns).flip(2, 4)
    phases = phases.permute(3, 5, 1, 0, 2, 4).reshape(rows * columns * channels, outputs, *taps)
    phases = phases.contiguous(memory_format=torch.channels_last)
    found = F.conv2d(gradient, phases, padding=(taps[0] - 1, taps[1] - 1))
    batch, _, height, width = found.shape
    pixels = found.permute(0, 2, 3, 1).reshape(batch, height, width, rows, columns, channels)
    pixels = pixels.permute(0, 1, 3, 2, 4, 5).reshape(batch, height * rows, width * columns, channels)
    pixels = pixels[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    # Pixels at the far edges that no kernel reached.
    missing = (size[0] - pixels.shape[1], size[1] - pixels.shape[2])
    if any(missing):
        pixels = F.pad(pixels, (0, 0, 0, missing[1], 0, missing[0]))
    return pixels.permute(0, 3, 1, 2)


class GlobalAverage(nn.Module):
    """The mean over all pixels, as ``nn.AdaptiveAvgPool2d(1)``."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the means (B, C, 1, 1) of values (B, C, H, W)."""
        found: torch.Tensor = _Mean.apply(values)
        return found


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        ctx.shape = values.shape
        return values.mean((2, 3), keepdim=True)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # A view: the same number for every pixel, which has no layout of its own.
        return (gradient / (ctx.shape[2] * ctx.shape[3])).expand(ctx.shape)


def with_cpu_layers(network: nn.Module) -> nn.Module:
    """Replace the layers of a frozen network for which this file has another way.

    Parameters
    ----------
    network : Module
        Changed in place; the names and values of its parameters stay.

    Returns
    -------
    Module
        The network.
    """
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if type(layer) is nn.Conv2d and _is_strided_on_colours(layer):
                setattr(module, name, InputConvolution.of(layer))
            elif type(layer) is nn.AdaptiveAvgPool2d and layer.output_size in (1, (1, 1)):
                setattr(module, name, GlobalAverage())
            elif type(layer) is nn.Conv2d and layer.kernel_size == (1, 1):
                # Means nothing to a single pixel; but torch leaves all dilated convolutions to oneDNN.
                layer.dilation = (2, 2)
    return network


def _is_strided_on_colours(layer: nn.Conv2d) -> bool:
    return (
        layer.in_channels == 3
        and max(layer.stride) > 1
        and layer.groups == 1
        and max(layer.dilation) == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )
