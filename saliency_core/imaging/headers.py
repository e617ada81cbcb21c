"""Sizes from the headers of formats whose readers take memory before Pillow knows how large the image is."""

import struct

from saliency_core.imaging.guards import DecodeError

__all__ = ["jpeg2000_size", "jpeg_xl_size", "webp_size"]

_JPEG_XL_BITS = (9, 13, 18, 30)
# Width over height, by the code in the header.
_JPEG_XL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise DecodeError(f"The WEBP file has an unknown first chunk {kind!r}.")


def jpeg2000_size(data: bytes) -> tuple[int, int]:
    """Width and height from the codestream of a JPEG 2000 file (ISO 15444-1, A.5.1), whatever its boxes say."""
    place = data.find(b"\xff\x4f\xff\x51")
    if place < 0:
        raise DecodeError("The JPEG2000 file has no codestream.")
    right, bottom, left, top = struct.unpack_from(">IIII", data, place + 8)
    return max(right - left, 0), max(bottom - top, 0)


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Width and height from the codestream of a JPEG XL file (ISO 18181-1, SizeHeader)."""
    header = _jpeg_xl_codestream(data)[2:12]
    bits = int.from_bytes(header.ljust(10, b"\0"), "little")
    place = 0

    def take(count: int) -> int:
        nonlocal place
        value = bits >> place & ((1 << count) - 1)
        place += count
        return value

    is_small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take(_JPEG_XL_BITS[take(2)]) + 1

    height = side()
    ratio = take(3)
    if ratio:
        over, under = _JPEG_XL_RATIOS[ratio]
        return height * over // under, height
    return side(), height


def _jpeg_xl_codestream(data: bytes) -> bytes:
    """Return the start of the codestream, bare or in boxes (ISO 18181-2)."""
    if data[:2] == b"\xff\x0a":
        return data[:16]
    place = 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        start = place + 8
        if length == 1:
            if place + 16 > len(data):
                break
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        if kind in (b"jxlc", b"jxlp"):
            start += 4 if kind == b"jxlp" else 0  # its number
            if data[start : start + 2] == b"\xff\x0a":
                return data[start : start + 16]
            break
        if length < start - place:
            break
        place += length
    raise DecodeError("The JPEG XL file has no codestream.")
