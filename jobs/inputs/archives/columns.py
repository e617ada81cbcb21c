"""Which columns of a table hold images and masks."""

from dataclasses import dataclass

import pyarrow as pa

from jobs.errors import ArchiveError
from jobs.inputs.archives.pairs import MASK_WORDS

IMAGE_WORDS = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp")


class ColumnError(ArchiveError):
    """Which column holds the images is for the settings to say."""


@dataclass(frozen=True)
class Columns:
    """Columns of images and masks as the settings name them; None: found by type and name.

    Parameters
    ----------
    image, mask : str, optional
    """

    image: str | None = None
    mask: str | None = None


def chosen_columns(schema: pa.Schema, wanted: Columns, *, strictly: bool = False) -> Columns:
    """Find the columns of images and masks.

    Parameters
    ----------
    schema : pyarrow.Schema
    wanted : Columns
    strictly : bool
        Take no column for images but one that is named in the settings, or like one of `IMAGE_WORDS`.

    Returns
    -------
    Columns
        The image column is never None.

    Raises
    ------
    ColumnError
        If there is none, or there are several to choose from.

    Examples
    --------
    >>> encoded = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    >>> chosen_columns(pa.schema([("image", encoded), ("mask", encoded), ("label", pa.int64())]), Columns())
    Columns(image='image', mask='mask')
    """
    for name in (wanted.image, wanted.mask):
        if name is not None and (name not in schema.names or not holds_bytes(schema.field(name).type)):
            raise ColumnError(f"no column {name} of encoded images (the columns are {', '.join(schema.names)[:300]})")
    encoded = [field.name for field in schema if pa.types.is_struct(field.type) and holds_bytes(field.type)]
    masks = [name for name in encoded if name.lower() in MASK_WORDS]
    images = [name for name in encoded if name not in masks and name != wanted.mask]
    mask = wanted.mask or next((name for word in MASK_WORDS for name in masks if name.lower() == word), None)
    if wanted.image is not None:
        return Columns(wanted.image, mask if mask != wanted.image else None)
    image = next((name for word in IMAGE_WORDS for name in images if name.lower() == word), None)
    if image is None and len(images) == 1 and not strictly:
        image = images[0]
    if image is None:
        choice = f" ({', '.join(images)} hold some)" if images else ""
        raise ColumnError(f"no column of encoded images that can be told{choice}: name one with --image-column")
    return Columns(image, mask)


def holds_bytes(kind: pa.DataType) -> bool:
    """Tell whether a column may hold encoded images: binary, or Hugging Face's struct of bytes and path."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
