"""What a reader of a data set returns, and how readers look at storage: every failure is one sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jobs.errors import SettingsError
from jobs.storage import files as storage
from saliency_core.imaging.options import MaskFormat

IMAGES = (".jpg", ".jpeg")
MASKS = (".png",)

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class DataSetListing:
    """The images of one split of a data set.

    Parameters
    ----------
    image_uris : list of str
        Sorted, each once.
    mask_uris : list of str or None
        One an image; None for an image without a mask.
    class_names_of_images : list of str or None
        One an image: the class of its largest labelled object; None where it has no object or was not asked for.
    class_names : tuple of str, optional
        The classes in order of their index; None for a data set without classes.
    mask_format : str
        The coding of the masks, as `saliency_core.imaging.masks.decode_mask` calls it.
    """

    image_uris: list[str]
    mask_uris: list[str | None]
    class_names_of_images: list[str | None]
    class_names: tuple[str, ...] | None
    mask_format: MaskFormat


def files_by_stem(folder: str, extensions: tuple[str, ...]) -> dict[str, str]:
    """List the files directly in a folder that have one of the extensions (in any case), by name without extension.

    Parameters
    ----------
    folder : str
        URI; a folder that is not there has no files.
    extensions : tuple of str
        In lower case, with the dot.

    Raises
    ------
    SettingsError
        If the folder cannot be read, or two files have one stem.
    """
    found: dict[str, str] = {}
    prefix = folder.rstrip("/") + "/"
    for uri in reading(folder, storage.list_files):
        name = uri.removeprefix(prefix)
        stem, dot, extension = name.rpartition(".")
        # Archives made on a Mac bring a hidden ._NAME for every file.
        if "/" in name or name.startswith(".") or dot + extension.lower() not in extensions:
            continue
        if stem in found:
            raise SettingsError(
                f"{storage.redacted(folder)} holds {found[stem].rpartition('/')[2]} and {name}: remove one"
            )
        found[stem] = uri
    return found


def read_lines(uri: str) -> list[str]:
    """Read the lines of a text file, without empty ones and without blanks around them."""
    text = reading(uri, lambda uri: storage.read_bytes(uri).decode("utf-8"))
    return [line.strip() for line in text.splitlines() if line.strip()]


def reading(uri: str, read: Callable[[str], _Value]) -> _Value:
    """Call ``read(uri)`` and make a SettingsError of whatever it raises."""
    try:
        return read(uri)
    except Exception as error:  # every storage has errors of its own
        raise unreadable(uri, error) from error


def unreadable(uri: str, error: Exception) -> SettingsError:
    """Return the error for a file or folder that cannot be read."""
    # Some storages say no more than the path when a file is missing.
    is_missing = isinstance(error, FileNotFoundError)
    reason = "it is not there" if is_missing else storage.redacted(str(error) or type(error).__name__)
    return SettingsError(f"{storage.redacted(uri)} cannot be read: {reason}")


def check_complete(stems: list[str], found: dict[str, str], what: str, folder: str, extension: str) -> None:
    """Raise a SettingsError unless every stem has a file.

    Parameters
    ----------
    stems : list of str
        What is to be there.
    found : dict
        What is there, by stem.
    what, folder, extension : str
        Name of the missing thing, the folder looked into and the extension looked for, for the message.
    """
    missing = [stem for stem in stems if stem not in found]
    if missing:
        raise SettingsError(
            f"{len(missing)} of {len(stems)} images have no {what} in {storage.redacted(folder)} "
            f"(such as {missing[0]}{extension}): unpack the data set in full"
        )
