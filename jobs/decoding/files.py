"""From the bytes of image and mask files to arrays at the sizes that the job works with.

These functions run in the decoder's process (`jobs.decoding.process`): nothing here may import Ray, torch or a storage.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError, TooLargeError
from saliency_core.imaging.masks import MaskError, decode_mask, match_mask, resize_mask
from saliency_core.imaging.options import MaskFormat
from saliency_core.imaging.resizing import resize_longest_side, squash

CLOCK_SECONDS = 10

Fields = dict[str, Any]
"""Numbers, texts and bytes by name; `status` and `error` among them."""


@dataclass(frozen=True)
class DecodeSettings:
    """What decoding needs to know of a run.

    Parameters
    ----------
    max_pixels : int
        Images and masks that announce more are refused.
    working_size : int
        Longest side of the image as superpixels and maps use it, in pixels.
    input_size : int, optional
        Side of the network's square input; None for a method without a network.
    mask_format : {"auto", "binary", "voc", "ids"}
    mask_orientation : {"stored", "displayed"}
    original_masks : bool
        Leave masks at the size of their image, instead of the working size.
    accept_truncated : bool
        Take what is there of images that end early.
    seconds : float
        Of the processor, for one file at most. By the clock it may take `CLOCK_SECONDS` times as long: on a busy
        machine a sound file must not be taken for a bad one.
    """

    max_pixels: int
    working_size: int
    input_size: int | None
    mask_format: MaskFormat = "auto"
    mask_orientation: Literal["stored", "displayed"] = "stored"
    original_masks: bool = False
    accept_truncated: bool = False
    seconds: float = 60.0


def decode_image_file(content: bytes, settings: DecodeSettings, image: Fields) -> Fields:
    """Decode an image file.

    Parameters
    ----------
    content : bytes
    settings : DecodeSettings
    image : dict
        Not used; the same arguments as `decode_mask_file`.

    Returns
    -------
    dict
        `status` (ok, decode_error or too_large) and `error`; if ok `width`, `height` as displayed, `stored_width`,
        `stored_height`, `orientation`, `share_read` (1, or less of a truncated file), `map_width`, `map_height`,
        `pixels` (uint8 (map_height, map_width, 3)) and `input` (uint8 (input_size, input_size, 3), or None).
    """
    try:
        decoded = decode_image(
            content,
            max_pixels=settings.max_pixels,
            reduce_to=settings.working_size,
            accept_truncated=settings.accept_truncated,
        )
        working = resize_longest_side(decoded.pixels, settings.working_size)
        squashed = squash(decoded.pixels, settings.input_size).tobytes() if settings.input_size is not None else None
    except TooLargeError as error:
        return failed("too_large", error)
    except (DecodeError, MemoryError) as error:
        return failed("decode_error", error)
    return {
        "status": "ok",
        "error": None,
        "width": decoded.width,
        "height": decoded.height,
        "stored_width": decoded.stored_width,
        "stored_height": decoded.stored_height,
        "orientation": decoded.orientation,
        "share_read": decoded.share_read,
        "map_width": working.shape[1],
        "map_height": working.shape[0],
        "pixels": working.tobytes(),
        "input": squashed,
    }


def decode_mask_file(content: bytes, settings: DecodeSettings, image: Fields) -> Fields:
    """Decode the mask of an image and bring it to the geometry in which its maps are stored.

    Parameters
    ----------
    content : bytes
    settings : DecodeSettings
    image : dict
        What `decode_image_file` said of the image; its bytes are not needed.

    Returns
    -------
    dict
        `status` (ok or mask_error) and `error`; if ok `mask_foreground` and `mask_valid`, bits packed.
    """
    try:
        mask = match_mask(
            decode_mask(content, format=settings.mask_format, max_pixels=settings.max_pixels),
            (image["stored_height"], image["stored_width"]),
            (image["height"], image["width"]),
            image["orientation"],
            orientation_of_ambiguous=settings.mask_orientation,
        )
        if not settings.original_masks:
            mask = resize_mask(mask, image["map_height"], image["map_width"])
    except (MaskError, MemoryError) as error:
        return failed("mask_error", error)
    return {
        "status": "ok",
        "error": None,
        "mask_foreground": np.packbits(mask.foreground).tobytes(),
        "mask_valid": np.packbits(mask.valid).tobytes(),
    }


OPERATIONS: dict[str, Callable[[bytes, DecodeSettings, Fields], Fields]] = {
    "image": decode_image_file,
    "mask": decode_mask_file,
}
CRASHED = {"image": "decode_error", "mask": "mask_error"}
"""The status of a file that the decoder's process did not survive, by operation."""


def failed(status: str, error: Exception) -> Fields:
    """Return the status with the error as one line."""
    reason = " ".join(str(error).split()) or "no reason given"
    return {"status": status, "error": f"{type(error).__name__}: {reason}"}


def limit_this_process(settings: DecodeSettings) -> None:
    """Bound the memory of this process in proportion to the pixels accepted, and have it be the first to go.

    The largest image accepted takes up to 22 bytes a pixel beside its file; the rest is room for the mask and for
    files that are all but an image. Where the system knows no such limit (macOS) there is none.
    """
    import resource

    limit = 2**30 + 48 * settings.max_pixels
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # Where memory ends in spite of all the kernel shall take this process, not Ray's worker with a whole shard.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 -- no such path elsewhere
        file.write("1000")
