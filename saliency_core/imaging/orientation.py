"""EXIF orientations: from the stored pixels to the displayed ones."""

from PIL import Image

__all__ = ["ORIENTATION_TAG", "TRANSPOSES", "exif_orientation", "is_turned_by_decoder", "turned"]

# What turns the stored image into the displayed one, by the EXIF orientation.
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION_TAG = 274


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 2 to 8, or 1 where it has none or a broken one."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:
        return 1  # broken EXIF data are no reason to reject a sound picture
    return orientation if isinstance(orientation, int) and orientation in TRANSPOSES else 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Turn stored pixels into the displayed ones."""
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


def is_turned_by_decoder(format_name: str, image: Image.Image) -> bool:
    """Say whether the decoder has turned the picture already, so that EXIF data no longer count.

    HEIF and JPEG XL have orientations of their own, by which EXIF data are overruled (ISO 23008-12, ISO 18181-2). A
    JPEG packed up as JPEG XL keeps the one in its EXIF data.
    """
    return format_name == "HEIF" or (format_name == "JPEG XL" and not getattr(image, "jpeg", False))
