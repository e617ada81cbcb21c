"""What can be chosen about images and masks. Nothing here needs a decoder, so that settings are checked without one."""

from typing import Literal

DEFAULT_MAX_PIXELS = 100_000_000
"""Largest width * height read by default; decoding that many takes 1.4 GB of memory (2.2 GB from WebP)."""

MaskFormat = Literal["auto", "binary", "voc", "ids"]
"""How masks are coded: found out, 0/1 or 0/255, indices of which 255 is void, or ids that are all the object but 0."""

VOID_INDEX = 255
"""Palette index of the pixels of a mask that no score counts (VOC)."""
