"""Encoded image files in, uint8 sRGB arrays out.

Untrusted files are expected. The content alone decides the format, only the formats of
`saliency_core.imaging.formats.FORMATS` are ever tried, the announced size is checked before any pixel is decoded, and
whatever goes wrong in a decoder is raised as `DecodeError`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saliency_core.imaging.formats import open_format, sniff_format
from saliency_core.imaging.guards import decoder_errors, pillow_warnings_ignored
from saliency_core.imaging.modes import to_rgb
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS
from saliency_core.imaging.orientation import exif_orientation, turned
from saliency_core.imaging.tiff import decode_tiff

__all__ = ["DecodedImage", "decode_image"]


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image as it is to be displayed.

    Attributes
    ----------
    pixels : uint8 array (H, W, 3)
        sRGB, EXIF orientation applied. (H, W) is (height, width), or less where `decode_image` reduced it.
    width, height : int
        Size of the whole image as displayed, in pixels.
    stored_width, stored_height : int
        Size as the file stores it, before the orientation is applied.
    orientation : int
        EXIF orientation, 1 to 8; 1 where the file gives none or an invalid one.
    format : str
        One of `saliency_core.imaging.formats.FORMATS`.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    stored_width: int
    stored_height: int
    orientation: int
    format: str


def decode_image(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, reduce_to: int | None = None) -> DecodedImage:
    """Decode an encoded image file to sRGB pixels.

    Every mode of the formats becomes 8-bit RGB by these rules:

    - transparency is composited on white (the page an image is usually seen on); a transparent colour key in
      a PNG of 2, 4 or 3 x 16 bits is ignored;
    - embedded ICC profiles are ignored, as in the training of the usual classifiers; CMYK is converted as
      ``R = (1 - C)(1 - K)``, and four-component JPEG values are taken as inverted (Adobe's convention, which
      viewers assume for every such file); 8-bit CIE Lab in TIFF is converted from D50;
    - numbers of more than 8 bits are scaled to 0..255 as `saliency_core.imaging.bit_depth.scale_to_uint8` says:
      16 bits by 1 / 257, floating point within 0..1 by 255 (16-bit colour read by Pillow keeps the high byte,
      at most one level less);
    - of an animation or a TIFF of several pages the first frame is read.

    A file that ends early is an error, never padded, as long as nobody sets Pillow's process-wide
    ``LOAD_TRUNCATED_IMAGES``. Damage that the format's own rules allow cannot be seen: flipped bits, or bytes
    lost in the middle of a JPEG that still ends in its end marker.

    Parameters
    ----------
    data : bytes
        The file's content.
    max_pixels : int
        Largest width * height accepted, judged by the header before pixels are decoded. Pillow's process-wide
        limit plays no part, except that WebP, GIF and TIFF above twice ``PIL.Image.MAX_IMAGE_PIXELS`` (179 million)
        are always too large.
    reduce_to : int, optional
        Longest side wanted, in pixels. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size while its
        longest side stays >= `reduce_to`, sizes rounded up: for 12 million pixels that takes a tenth of the
        time, and the image at 512 pixels differs by 2 to 3 grey levels on average. Other formats, and
        images not at least twice as large, are not touched by it.

    Returns
    -------
    DecodedImage
        The pixels, writeable, with the sizes, the orientation and the format.

    Raises
    ------
    TooLargeError
        If the image announces more than `max_pixels` pixels.
    DecodeError
        If the bytes are no image of these formats, are damaged or truncated, or are of an unsupported kind.

    Examples
    --------
    >>> from saliency_core.imaging.png import encode_png
    >>> image = decode_image(encode_png(np.zeros((2, 3, 3), np.uint8)))
    >>> image.pixels.shape, image.width, image.height, image.format
    ((2, 3, 3), 3, 2, 'PNG')
    """
    if reduce_to is not None and reduce_to < 1:
        raise ValueError(f"reduce_to must be at least 1 pixel, not {reduce_to}.")
    format_name = sniff_format(data)
    with decoder_errors(format_name), pillow_warnings_ignored():
        if format_name == "TIFF":
            rgb, stored, orientation = decode_tiff(data, max_pixels)
        else:
            image = open_format(format_name, data, max_pixels)
            stored = width, height = image.size
            if reduce_to is not None and format_name == "JPEG":
                # Pillow halves while both sides stay >= the given ones, so the shorter side is asked for 1 pixel.
                image.draft(None, (reduce_to, 1) if width >= height else (1, reduce_to))
            image.load()  # before the orientation: a PNG may hold its EXIF data after the pixels
            orientation = exif_orientation(image)
            rgb = turned(to_rgb(image), orientation)
        width, height = stored[::-1] if orientation >= 5 else stored
        return DecodedImage(np.array(rgb), width, height, *stored, orientation, format_name)
