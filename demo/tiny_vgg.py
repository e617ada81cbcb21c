"""A VGG of a third of a million weights: it trains on a processor and comes with the project."""

import torch
from torch import nn
from torchvision.models.vgg import make_layers

from saliency_core.networks.preprocessing import Preprocessing

INPUT_SIZE = 96
"""Side of the square input, pixels."""

MEAN = (0.45, 0.45, 0.45)
"""Subtracted from the channels of an image in [0, 1]."""

STD = (0.25, 0.25, 0.25)
"""What the channels are then divided by: equal, so that no channel is re-weighted in the erasure map."""

_LAYERS: list[str | int] = [16, "M", 32, "M", 64, 64, "M", 96, 96, "M", 128]


class TinyVGG(nn.Module):
    """Convolutions, ReLUs and max-pools as in VGG (with batch normalisation), then one linear layer.

    ``load_classifier("demo.tiny_vgg:TinyVGG", weights)`` finds it by its name.

    The standard head of VGG alone has 120 million weights; here the features are averaged over the image.

    Parameters
    ----------
    num_classes
        Number of logits.

    Examples
    --------
    >>> TinyVGG(num_classes=8).eval()(torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE)).shape
    torch.Size([2, 8])
    """

    preprocessing = Preprocessing(INPUT_SIZE, MEAN, STD)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = make_layers(_LAYERS, batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, float (B, num_classes), of normalised images, float (B, 3, 96, 96)."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))
