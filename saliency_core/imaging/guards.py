"""What decoders of untrusted files may not do to their caller: raise anything, or warn about everything."""

import contextlib
import logging
import threading
import warnings
from collections.abc import Iterator

from PIL import Image

from saliency_core.errors import SaliencyError

__all__ = [
    "DecodeError",
    "TooLargeError",
    "decoder_errors",
    "pillow_warnings_ignored",
    "require_pixel_limit",
]

# Without a handler of their own these loggers would print to stderr for odd files.
for _name in ("PIL", "tifffile"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

_warnings_lock = threading.Lock()
_warnings_users = 0
_warnings_saved = warnings.catch_warnings()


class DecodeError(SaliencyError, ValueError):
    """The bytes are not an image that can be read."""


class TooLargeError(DecodeError):
    """The image announces more pixels than the limit."""


def require_pixel_limit(width: int, height: int, max_pixels: int) -> None:
    """Raise `TooLargeError` if an image of `width` x `height` has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise TooLargeError(
            f"The image announces {width} x {height} = {width * height} pixels, more than the limit of "
            f"{max_pixels}; raise max_pixels to read it."
        )


@contextlib.contextmanager
def decoder_errors(format_name: str) -> Iterator[None]:
    """Turn whatever is raised within the block into `DecodeError`.

    Parameters
    ----------
    format_name : str
        Name of the file's format, for the message.

    Raises
    ------
    TooLargeError
        For Pillow's own `DecompressionBombError`, and as raised within.
    DecodeError
        For every other exception.
    """
    try:
        yield
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(f"The {format_name} file is too large: {error}") from error
    except Exception as error:
        # Damaged files make decoders raise nearly anything: OSError, SyntaxError, struct.error, MemoryError.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DecodeError(f"The {format_name} file cannot be decoded: {reason}") from error


@contextlib.contextmanager
def pillow_warnings_ignored() -> Iterator[None]:
    """Ignore Pillow's warnings while any thread decodes.

    Only the first thread in and the last one out touch the process-wide filters: overlapping
    `warnings.catch_warnings` blocks in several threads would restore each other's filters.
    """
    global _warnings_users, _warnings_saved
    with _warnings_lock:
        if _warnings_users == 0:
            _warnings_saved = warnings.catch_warnings()
            _warnings_saved.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _warnings_users += 1
    try:
        yield
    finally:
        with _warnings_lock:
            _warnings_users -= 1
            if _warnings_users == 0:
                _warnings_saved.__exit__(None, None, None)
