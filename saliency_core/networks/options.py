"""What can be chosen about a network, by name. Nothing here needs torch, so that settings are checked without it."""

from typing import Literal

PRETRAINED = "pretrained"
"""torchvision's own weights."""
RANDOM = "random"
"""Weights drawn at random."""

Scores = Literal["logits", "before-relu"]
"""Which scores of a network are its logits: what it returns, or what its last ReLU is given (SqueezeNet)."""

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""float32 is the reference. tf32 rounds factors to 10 bits inside products on NVIDIA GPUs; the others run the network
in that type (torch.autocast). Logits, error signal and the sum of the steps stay float32 in all of them."""
