"""Encoded image files in, uint8 sRGB arrays out.

Untrusted files are expected. The content alone decides the format, only the formats of
`saliency_core.imaging.formats` are ever tried, the announced size is checked before any pixel is decoded, and
whatever goes wrong in a decoder is raised as `DecodeError`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency_core.imaging.bit_depth import read_deep_colour
from saliency_core.imaging.formats import open_format, sniff_format
from saliency_core.imaging.guards import (
    DecodeError,
    decoder_errors,
    pillow_warnings_ignored,
    require_pixel_limit,
)
from saliency_core.imaging.modes import deep_to_image, to_rgb
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS
from saliency_core.imaging.orientation import exif_orientation, is_turned_by_decoder, turned
from saliency_core.imaging.repairs import REPAIRS, is_deep_colour, stated_bits
from saliency_core.imaging.tiff import decode_tiff
from saliency_core.imaging.truncation import (
    Salvage,
    salvage_bmp,
    salvage_jpeg,
    salvage_png,
    with_grey_for_missing,
)

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
        As `saliency_core.imaging.formats` names it.
    share_read : float
        1; where `accept_truncated` asked for what is there of a file that ends early, the share of its rows. The others
        are grey. A progressive JPEG that lacks but its last scans has all rows, less sharp.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    stored_width: int
    stored_height: int
    orientation: int
    format: str
    share_read: float = 1.0


def decode_image(
    data: bytes,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    reduce_to: int | None = None,
    accept_truncated: bool = False,
) -> DecodedImage:
    """Decode an encoded image file to sRGB pixels.

    Every mode of the formats becomes 8-bit RGB by these rules:

    - transparency is composited on white (the page an image is usually seen on); a transparent colour key in
      a PNG of 2, 4 or 3 x 16 bits is ignored; an alpha channel that is 0 everywhere counts as none in BMP, and in
      TIFF where the file does not say what it is;
    - embedded ICC profiles are ignored, as in the training of the usual classifiers; CMYK is converted as
      ``R = (1 - C)(1 - K)``, and four-component JPEG values are taken as inverted (Adobe's convention, which
      viewers assume for every such file); 8-bit CIE Lab in TIFF is converted from D50;
    - numbers of more than 8 bits are scaled to 0..255 by what the file states (SMinSampleValue and SMaxSampleValue
      in TIFF, sBIT in PNG), else as `saliency_core.imaging.bit_depth` says: 16 bits by their own maximum rounded up
      to 8, 10, 12, 14 or 16 bits, floating point within 0..1 by 255 (16-bit colour in a PNG that needs 15 bits or
      more keeps the high byte, at most one level less);
    - of an animation or a TIFF of several pages the first frame is read.

    What viewers overlook is overlooked: a missing end marker, wrong checksums of texts and profiles, a RIFF length
    beyond the end. A file that lacks pixels is an error, never padded, unless `accept_truncated` says otherwise and
    as long as nobody sets Pillow's process-wide ``LOAD_TRUNCATED_IMAGES``. Damage that the format's own rules allow
    cannot be seen: flipped bits, or bytes lost in the middle of a JPEG that still ends in its end marker.

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
    accept_truncated : bool
        Take what is there of a JPEG, an uncompressed BMP or a PNG without interlacing that ends early.

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
            return _finished(rgb, stored, orientation, format_name)
        data = REPAIRS[format_name](data) if format_name in REPAIRS else data
        image = open_format(format_name, data, max_pixels)
        stored = width, height = image.size
        draft = None
        if reduce_to is not None and format_name == "JPEG":
            # Pillow halves while both sides stay >= the given ones, so the shorter side is asked for 1 pixel.
            draft = (reduce_to, 1) if width >= height else (1, reduce_to)
            image.draft(None, draft)
        salvage = None
        try:
            image.load()  # before the orientation: a PNG may hold its EXIF data after the pixels
        except OSError:
            salvage = _salvaged(format_name, data, draft, accept_truncated)
            if salvage is None:
                raise
            image = open_format(format_name, salvage.content, max_pixels)
            image.draft(None, draft)
            image.load()
        if format_name == "HEIF":  # its header may have said less
            require_pixel_limit(*image.size, max_pixels)
            stored = image.size
        orientation = 1 if is_turned_by_decoder(format_name, image) else exif_orientation(image)
        rgb = _to_rgb(format_name, image, data)
        if salvage is not None:
            rgb = with_grey_for_missing(rgb, salvage)
        share = 1.0 if salvage is None else salvage.share
        return _finished(turned(rgb, orientation), stored, orientation, format_name, share)


def _salvaged(format_name: str, data: bytes, draft: tuple[int, int] | None, accept_truncated: bool) -> Salvage | None:
    """Return what can be had of a file that could not be loaded: of a JPEG all of it, or what was asked for."""
    if format_name == "JPEG":
        salvage = salvage_jpeg(data, draft)
        return salvage if salvage is not None and (salvage.is_whole or accept_truncated) else None
    if not accept_truncated:
        return None
    return {"PNG": salvage_png, "BMP": salvage_bmp}.get(format_name, lambda _: None)(data)


def _to_rgb(format_name: str, image: Image.Image, data: bytes) -> Image.Image:
    if format_name == "JPEG2000":
        return to_rgb(image, white=65535)  # the decoder has scaled its samples by the depth that the file states
    if format_name != "PNG":
        return to_rgb(image, alpha_is_open=format_name == "BMP")
    bits = stated_bits(data)
    if is_deep_colour(data) and bits != 16:
        colours = image.getextrema()[:3]
        if max(high for _, high in colours) < 64:  # type: ignore[misc]
            # Pillow keeps the high byte, which is next to nothing of a sensor's 12 bits.
            samples = read_deep_colour(data)
            if samples is None:
                raise DecodeError("The PNG file is damaged.")
            mode = "RGBA" if image.mode == "RGBA" and samples.shape[2] == 4 else "RGB"
            return to_rgb(deep_to_image(samples[..., : len(mode)], mode, stated_bits=bits))
    return to_rgb(image, stated_bits=bits)


def _finished(
    rgb: Image.Image, stored: tuple[int, int], orientation: int, format_name: str, share: float = 1.0
) -> DecodedImage:
    width, height = stored[::-1] if orientation >= 5 else stored
    return DecodedImage(np.array(rgb), width, height, *stored, orientation, format_name, share)
