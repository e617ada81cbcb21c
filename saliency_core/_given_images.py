"""Images as callers have them: arrays, Pillow's, or the paths of files."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from saliency_core._arrays import check_rgb
from saliency_core.errors import ArgumentError
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.modes import to_rgb

ImageLike = NDArray[np.uint8] | Image.Image | str | os.PathLike[str]
"""An sRGB image: uint8 array (H, W, 3), one of Pillow's of any mode, or the path of a file."""


def pixels_of(image: ImageLike) -> NDArray[np.uint8]:
    """Return an image as a uint8 array (H, W, 3), the way it is displayed.

    Parameters
    ----------
    image : array, PIL.Image.Image or path

    Raises
    ------
    ArgumentError
        If it is none of these, or an array of another type or shape.
    DecodeError
        If a file cannot be read as an image.
    """
    if isinstance(image, np.ndarray):
        check_rgb(image)
        return image
    if isinstance(image, Image.Image):
        return np.array(to_rgb(ImageOps.exif_transpose(image)))
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArgumentError(f"the image {path} cannot be read: {error.strerror or error}") from error
        return decode_image(content).pixels
    raise ArgumentError(f"an image must be an array, one of Pillow's or the path of a file, not {type(image).__name__}")
