"""What viewers overlook in a file: wrong checksums of what is no picture, wrong lengths around a whole picture.

The functions return the same bytes, or bytes that strict decoders read as viewers read the given ones. They look at
the structure alone; nothing is inflated but short texts, and those no further than a bound.
"""

import struct
import zlib
from collections.abc import Iterator

from saliency_core.imaging.guards import DecodeError

__all__ = ["REPAIRS", "is_deep_colour", "png_chunks", "repaired_png", "repaired_webp", "stated_bits"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What the picture needs beside the critical chunks; all others (text, time, profiles) are left out unread, since their
# damage and their size must not cost the picture.
_KEPT = frozenset({b"tRNS", b"sBIT", b"eXIf", b"acTL", b"fcTL", b"fdAT"})
# Texts that hold an orientation, as ImageMagick and Adobe's programs write them.
_KEPT_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_LONGEST_TEXT = 1 << 20
_IMAGE_CHUNKS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_EXIF_FLAG = 8


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of every chunk; the last one's end may lie behind the file's."""
    place = len(PNG_SIGNATURE)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind = data[place + 4 : place + 8]
        yield kind, place + 8, place + 8 + length
        place += length + 12


def repaired_png(data: bytes) -> bytes:
    """Leave out the ancillary chunks of a PNG that the picture does not need, or whose checksum is wrong.

    Raises
    ------
    DecodeError
        If the checksum of a critical chunk is wrong (IHDR, PLTE, IDAT), or the file is one of Apple's own kind.
    """
    parts = [data[: len(PNG_SIGNATURE)]]
    kept_to = len(PNG_SIGNATURE)
    for kind, start, end in png_chunks(data):
        if kind == b"CgBI":
            raise DecodeError(
                "The PNG file is of Apple's own kind (CgBI), which only its devices read: "
                "convert it with pngcrush -revert-iphone-optimizations."
            )
        if end + 4 > len(data):  # cut short: what is there is the decoder's to judge
            break
        is_ancillary = bool(kind[0] & 0x20) if kind.isalpha() else False
        is_sound = zlib.crc32(data[start - 4 : end]) == int.from_bytes(data[end : end + 4], "big")
        if not is_ancillary and not is_sound:
            raise DecodeError(f"The PNG file is damaged: the checksum of its chunk {kind.decode('latin-1')} is wrong.")
        if is_ancillary and not (is_sound and _is_needed(kind, data[start : min(end, start + _LONGEST_TEXT)])):
            parts.append(data[kept_to : start - 8])
            kept_to = end + 4
        if kind == b"IEND":
            break
    return data if kept_to == len(PNG_SIGNATURE) else b"".join([*parts, data[kept_to:]])


def _is_needed(kind: bytes, content: bytes) -> bool:
    if kind in _KEPT:
        return True
    if kind not in (b"tEXt", b"zTXt", b"iTXt") or not content.startswith(_KEPT_TEXTS) or len(content) >= _LONGEST_TEXT:
        return False
    if kind != b"zTXt":
        return not (kind == b"iTXt" and content[content.index(b"\0") + 1 :][:1] == b"\1")  # compressed XMP: not needed
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(content[content.index(b"\0") + 2 :], _LONGEST_TEXT)
    except zlib.error:
        return False
    return not inflater.unconsumed_tail


def is_deep_colour(data: bytes) -> bool:
    """Say whether a PNG has 16 bits a sample, and colours or alpha."""
    return data[24:25] == b"\x10" and data[25:26] in (b"\2", b"\4", b"\6")


def stated_bits(data: bytes) -> int | None:
    """Return how many bits of a PNG's colours are significant, as its sBIT chunk states it; None if it does not."""
    for kind, start, end in png_chunks(data):
        if kind == b"sBIT" and start < end <= len(data):
            colours = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}.get(data[25], 1)
            bits = max(data[start : min(start + colours, end)])
            return bits if 1 <= bits <= 16 else None
        if kind == b"IDAT":
            break
    return None


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    place = 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        yield data[place : place + 4], place + 8, place + 8 + length
        place += 8 + length + (length & 1)


def repaired_webp(data: bytes) -> bytes:
    """Give a WebP file whose RIFF length is wrong the right one, where its picture is whole.

    As browsers do and libwebp's incremental decoder: a length beyond the end of the file counts as "more may come",
    and the picture that has come is shown. A length that ends within the picture is an error of libwebp and of every
    browser, and is left for the decoder to refuse; one that ends behind the picture cuts off what follows it. A file
    that announces EXIF data, which may hold an orientation, and lacks them is left alone as well.
    """
    announced = 8 + int.from_bytes(data[4:8], "little")
    if announced == len(data) or (announced == len(data) - 1 and announced & 1):
        return data
    limit = min(announced, len(data))
    end, kinds, flags = 12, set(), 0
    for kind, start, content_end in _webp_chunks(data):
        if content_end > limit:
            break
        kinds.add(kind)
        if kind == b"VP8X":
            flags = data[start] if start < len(data) else 0
        end = content_end
    if not kinds & _IMAGE_CHUNKS or (flags & _EXIF_FLAG and b"EXIF" not in kinds):
        return data
    body = data[8:end] + bytes(end & 1)
    return data[:4] + struct.pack("<I", len(body)) + body


REPAIRS = {"PNG": repaired_png, "WEBP": repaired_webp}
"""By format."""
