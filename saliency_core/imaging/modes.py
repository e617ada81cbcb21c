"""Loaded images of any of Pillow's modes to 8-bit sRGB."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from saliency_core.imaging.bit_depth import scale_to_uint8, white_level

__all__ = ["deep_to_image", "to_rgb"]


def to_rgb(
    image: Image.Image,
    *,
    white: float | None = None,
    black: float = 0,
    stated_bits: int | None = None,
    white_is_zero: bool = False,
    alpha_is_open: bool = False,
) -> Image.Image:
    """Convert a loaded image of any mode.

    Parameters
    ----------
    image : PIL.Image.Image
    white, black : float, optional
        Values of greyscale of more than 8 bits that become white and black; without them white is that of
        `saliency_core.imaging.bit_depth.white_level` or `scale_to_uint8`.
    stated_bits : int, optional
        Significant bits of such samples.
    white_is_zero : bool
        Whether such samples are inverted.
    alpha_is_open : bool
        Whether the format leaves open what alpha means: if it is 0 everywhere it is none, then.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.
    """
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image)
        if white is None and samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
            white = white_level(int(samples.max()), stated_bits)
        grey = scale_to_uint8(samples, white, black)
        if white_is_zero:
            grey = 255 - grey
        if isinstance(key := image.info.get("transparency"), int):
            grey[samples == key] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)) for name in ("LAB", "sRGB"))
        return ImageCms.ImageCmsTransform(lab, srgb, "LAB", "RGB").apply(image)
    if alpha_is_open and image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGBA").convert("RGB")
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(rgba, mask=rgba)
        return page
    return image.convert("RGB")


def deep_to_image(
    samples: NDArray[np.generic],
    mode: str,
    *,
    white: float | None = None,
    black: float = 0,
    stated_bits: int | None = None,
) -> Image.Image:
    """Scale the samples of a picture to an 8-bit image.

    Parameters
    ----------
    samples : array (H, W, C)
        Unsigned 16-bit or other real numbers.
    mode : str
        L, La, LA, RGB, RGBa, RGBA or CMYK, for C channels.
    white, black, stated_bits
        As in `to_rgb`. They hold for colours; alpha has the same white, unless a value of it is larger.
    """
    has_alpha = mode[-1] in "aA"
    colours = samples[..., : len(mode) - has_alpha]
    if samples.dtype.kind == "u" and samples.dtype.itemsize == 2:
        if white is None:
            white = white_level(int(colours.max()), stated_bits)
        pixels = scale_to_uint8(colours, white, black)  # type: ignore[arg-type]
        if has_alpha:
            alpha = samples[..., -1:]
            opaque = white if int(alpha.max()) <= white else 65535
            pixels = np.concatenate([pixels, scale_to_uint8(alpha, opaque)], -1)  # type: ignore[arg-type]
    else:
        if has_alpha:
            raise ValueError(f"transparency beside {samples.dtype} values is not supported.")
        pixels = scale_to_uint8(colours, white, black)  # type: ignore[arg-type]
    return Image.frombytes(mode, samples.shape[1::-1], pixels.tobytes())
