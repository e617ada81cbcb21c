"""Loaded images of any of Pillow's modes to 8-bit sRGB."""

import numpy as np
from PIL import Image, ImageCms

from saliency_core.imaging.bit_depth import scale_to_uint8

__all__ = ["to_rgb"]


def to_rgb(image: Image.Image, *, white: int = 65535, white_is_zero: bool = False) -> Image.Image:
    """Convert a loaded image of any mode; the keywords concern greyscale of more than 8 bits."""
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image)
        grey = scale_to_uint8(samples, white)
        if white_is_zero:
            grey = 255 - grey
        if isinstance(key := image.info.get("transparency"), int):
            grey[samples == key] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("LAB", "sRGB"))
        return ImageCms.ImageCmsTransform(lab, srgb, "LAB", "RGB").apply(image)
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(rgba, mask=rgba)
        return page
    return image.convert("RGB")
