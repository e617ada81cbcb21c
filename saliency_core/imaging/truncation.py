"""Files that end early: whether all pixels are there all the same, and what is there where they are not."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from saliency_core.imaging.repairs import PNG_SIGNATURE, png_chunks

__all__ = ["MISSING", "Salvage", "salvage_bmp", "salvage_jpeg", "salvage_png", "with_grey_for_missing"]

MISSING = 128
"""Grey level of the rows that a file lacks."""

_END = b"\xff\xd9"
# No 0xFF among them, so that they are taken for pixels.
_FILLING = bytes(np.random.default_rng(0).integers(0, 255, 4096, np.uint8))
# Every bit that may be missing from the last byte differs from libjpeg's zeros in one of these.
_OTHERS = tuple(bytes([first]) + _FILLING for first in (0x55, 0xAA, 0xFE))
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG's colour types
_PLAIN_BMP = (0, 3)  # uncompressed, bit fields


@dataclass(frozen=True, eq=False)
class Salvage:
    """What can be had of a file that ends early.

    Attributes
    ----------
    content : bytes
        A file that a decoder reads without complaint.
    first, last : int
        The rows of the picture that come from the file are first <= row < last, of `height`.
    height : int
        Rows of the picture as `content` is decoded.
    is_whole : bool
        Whether nothing is missing but an end marker.
    """

    content: bytes
    first: int
    last: int
    height: int
    is_whole: bool = False

    @property
    def share(self) -> float:
        """Share of the rows that come from the file."""
        return (self.last - self.first) / self.height


def salvage_jpeg(data: bytes, draft: tuple[int, int] | None) -> Salvage | None:
    """Find out which rows of a JPEG without an end marker its bytes decide.

    The file is decoded ended by the marker, upon which libjpeg makes up what is missing, and continued by other bytes.
    What is the same whatever follows has come whole. In a progressive file, whose scans cover the
    picture again and again, all rows count as there once every component has had its first scan whole, though they
    are less sharp.

    Parameters
    ----------
    data : bytes
    draft : (int, int), optional
        Size wanted, as `PIL.Image.Image.draft` takes it.

    Returns
    -------
    Salvage, or None if nothing can be decoded
    """
    data = data.rstrip(b"\xff")  # the first half of a marker
    try:
        ended = _decoded(data + _END, draft)
        rows = min(_equal_rows(ended, _decoded(data + other + _END, draft)) for other in _OTHERS)
        is_whole = rows == len(ended) and _scans_are_complete(data)
        if _first_scans_are_over(data):
            rows = len(ended)
    except Exception:  # whatever damaged files make Pillow raise
        return None
    return Salvage(data + _END, 0, rows, len(ended), is_whole) if rows else None


def _equal_rows(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    differs = (one != other).reshape(len(one), -1).any(1)
    return int(np.argmax(differs)) if differs.any() else len(one)


def _decoded(data: bytes, draft: tuple[int, int] | None) -> NDArray[np.uint8]:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if draft is not None:
        image.draft(None, draft)
    return np.asarray(image)


def _scans(data: bytes) -> tuple[set[int], list[tuple[tuple[int, ...], int, int, int]]]:
    """Return a JPEG's components, and of each scan its components, first and last coefficient and its low bit."""
    components: set[int] = set()
    scans = []
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:
            place += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, place + 2)
        content = data[place + 4 : place + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(content) >= 6:
            components = {content[6 + 3 * index] for index in range(content[5]) if 6 + 3 * index < len(content)}
        if marker == 0xDA and content and len(content) >= 4 + 2 * content[0]:
            first, last, bits = content[1 + 2 * content[0] : 4 + 2 * content[0]]
            scans.append((tuple(content[1 : 1 + 2 * content[0] : 2]), first, last, bits & 15))
        place += 2 + length
    return components, scans


def _scans_are_complete(data: bytes) -> bool:
    components, scans = _scans(data)
    fine = {
        (component, coefficient)
        for of, first, last, low_bit in scans
        if low_bit == 0
        for component in of
        for coefficient in range(first, min(last, 63) + 1)
    }
    return bool(components) and len(fine) == 64 * len(components)


def _first_scans_are_over(data: bytes) -> bool:
    """Say whether another scan has begun behind the first one of every component."""
    components, scans = _scans(data)
    begun = {component for of, first, _, _ in scans[:-1] if first == 0 for component in of}
    return bool(components) and begun >= components and len(scans) > 1


def salvage_png(data: bytes) -> Salvage | None:
    """Build a whole PNG of the rows that a PNG holds; None if there are none, or it is interlaced."""
    header, kept, pixels = b"", [], []
    for kind, start, end in png_chunks(data):
        if kind == b"IHDR":
            header = data[start:end]
        elif kind == b"IDAT":
            pixels.append(data[start:end])
        elif kind in (b"PLTE", b"tRNS", b"sBIT", b"eXIf"):
            kept.append(_chunk(kind, data[start:end]))
    if len(header) != 13:
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if interlaced or colour not in _SAMPLES or bits not in (1, 2, 4, 8, 16):
        return None
    row = 1 + (width * bits * _SAMPLES[colour] + 7) // 8
    inflater = zlib.decompressobj()
    rows = bytearray()
    try:
        for part in pixels:
            rows += inflater.decompress(part, row * height - len(rows)) if len(rows) < row * height else b""
    except zlib.error:
        return None
    there = len(rows) // row
    if not there:
        return None
    packed = zlib.compress(bytes(rows[: there * row]) + bytes((height - there) * row), 1)
    content = [PNG_SIGNATURE, _chunk(b"IHDR", header), *kept, _chunk(b"IDAT", packed), _chunk(b"IEND", b"")]
    return Salvage(b"".join(content), 0, there, height)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def salvage_bmp(data: bytes) -> Salvage | None:
    """Fill up an uncompressed BMP; its rows usually begin at the bottom. None if there are none."""
    if len(data) < 54:
        return None
    offset, header, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if header < 40 or compression not in _PLAIN_BMP or width <= 0 or not height:
        return None
    row = (width * bits + 31) // 32 * 4
    there = min((len(data) - offset) // row, abs(height)) if row else 0
    if there <= 0:
        return None
    content = data[: offset + there * row] + bytes((abs(height) - there) * row)
    first, last = (abs(height) - there, abs(height)) if height > 0 else (0, there)
    return Salvage(content, first, last, abs(height))


def with_grey_for_missing(rgb: Image.Image, salvage: Salvage) -> Image.Image:
    """Paint the rows of a stored picture that its file lacks."""
    for first, last in ((0, salvage.first), (salvage.last, salvage.height)):
        if first < last:
            rgb.paste((MISSING,) * 3, (0, first, rgb.width, last))
    return rgb
