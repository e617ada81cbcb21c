"""From lists of URIs to decoded images, as a Ray Data set: fetched and decoded by tasks wherever there is room.

A row out for every row in: an image that cannot be read is a row of zeros that does not count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from numpy.typing import NDArray

from jobs.decoding.files import DecodeSettings, Fields, failed
from jobs.decoding.process import Decoder, shared_decoder
from jobs.inputs.archives.reading import read_many
from jobs.pipeline.prepare import FIRST_BYTES, LONGEST_ERROR, TooLongError, whole_file
from jobs.storage import files as storage
from saliency_core.imaging.options import MaskFormat
from saliency_core.parameters import WORKING_SIZE

Batch = dict[str, NDArray]

OK, PADDING = "ok", "padding"
ROWS_PER_TASK = 32
CACHED_SHARE = 0.3
"""Of the cluster's object store: decoded images that fit in it are kept there between the epochs."""


@dataclass(frozen=True)
class Masks:
    """Masks that belong to images, and what is made of both.

    Parameters
    ----------
    uris : sequence of str
        One an image.
    format : {"auto", "binary", "voc", "ids"}
        How they are coded.
    columns : callable
        From what the decoder says of an image, and of its mask, to columns of the set: arrays of the same shape for all
        images; from None to those of a row without an image.
    """

    uris: Sequence[str]
    format: MaskFormat
    columns: Callable[[tuple[Fields, Fields] | None], Mapping[str, NDArray]]


def image_set(
    uris: Sequence[str] | pa.Array,
    side: int,
    columns: Mapping[str, Sequence[Any] | NDArray | pa.Array],
    *,
    max_pixels: int,
    multiple: int = 1,
    seed: int | None = None,
    masks: Masks | None = None,
) -> ray.data.Dataset:
    """Make a lazy set of decoded images.

    Parameters
    ----------
    uris : sequence of str, or pyarrow.Array of them
    side : int
        Each image is squashed to this square, as the saliency job does.
    columns : mapping of str to sequence
        What else belongs to the images: one value each.
    max_pixels : int
        Larger images are not decoded.
    multiple : int
        Rows that do not count are added until the number of rows is a multiple of this.
    seed : int, optional
        Of the order of the rows; None: as they are listed.
    masks : Masks, optional
        An image whose mask cannot be read does not count.

    Returns
    -------
    ray.data.Dataset
        `columns`, those of the masks, and ``index`` int64, position in `uris`, -1 for an added row; ``image`` uint8
        (side, side, 3); ``counts`` bool, whether there is an image; ``status`` and ``error`` str. An added row has the
        values of the first image.
    """
    order = np.arange(len(uris)) if seed is None else np.random.default_rng(seed).permutation(len(uris))
    order = np.concatenate([order, np.full(-len(order) % multiple, -1)])
    places = pa.array(np.maximum(order, 0))
    # An added row has no name.
    rows = pa.array(order, mask=order < 0)
    located = {"uri": uris} | ({"mask_uri": masks.uris} if masks else {})
    table = pa.table(
        {
            "index": order,
            **{
                name: pc.fill_null(pa.array(values, pa.large_string()).take(rows), "")
                for name, values in located.items()
            },
            **{name: pa.array(values).take(places) for name, values in columns.items()},
        }
    )
    blocks = [table.slice(start, ROWS_PER_TASK) for start in range(0, table.num_rows, ROWS_PER_TASK)]
    return ray.data.from_arrow(blocks).map_batches(decoder(side, max_pixels, masks), batch_size=ROWS_PER_TASK)


def kept_if_it_fits(images: ray.data.Dataset, rows: int, side: int) -> ray.data.Dataset:
    """Decode all images once and keep them in the object store of the cluster, if they take a small part of it."""
    room = ray.cluster_resources().get("object_store_memory", 0) * CACHED_SHARE
    return images.materialize() if rows * side * side * 3 <= room else images


def decoder(side: int, max_pixels: int, masks: Masks | None) -> Callable[[Batch], Batch]:
    """Return what fetches and decodes rows with ``uri``, and ``mask_uri`` where there are masks; see `image_set`."""
    settings = DecodeSettings(
        max_pixels=max_pixels,
        working_size=WORKING_SIZE,
        input_size=side,
        mask_format=masks.format if masks else "auto",
    )
    columns = masks.columns if masks else None  # not the names of all images with every task

    def fetch_and_decode(batch: Batch) -> Batch:
        own = shared_decoder(settings)
        uris = [str(uri) for uri in batch["uri"]]
        mask_uris = [str(uri) for uri in batch.get("mask_uri", [""] * len(uris))]
        wanted = [uri for uri in (*uris, *mask_uris) if uri]
        contents = dict(zip(wanted, read_many(wanted, FIRST_BYTES), strict=True))
        images = np.zeros((len(uris), side, side, 3), np.uint8)
        statuses, errors, further = [], [], []
        for place, uri in enumerate(uris):
            found: Fields = _decoded(own, uri, contents[uri]) if uri else {"status": PADDING, "error": None}
            pair = None
            if found["status"] == OK and columns is not None:
                mask = _decoded_mask(own, mask_uris[place], contents[mask_uris[place]], found)
                found |= {name: mask[name] for name in ("status", "error")}
                pair = found, mask
            if found["status"] == OK:
                images[place] = np.frombuffer(found["input"], np.uint8).reshape(side, side, 3)
            statuses.append(found["status"])
            errors.append(found["error"] or "")
            if columns is not None:
                further.append(columns(pair if found["status"] == OK else None))
        return {
            **{name: values for name, values in batch.items() if name not in ("uri", "mask_uri")},
            **{name: np.stack([row[name] for row in further]) for name in (further[0] if further else ())},
            "image": images,
            "counts": np.array([status == OK for status in statuses]),
            "status": np.array(statuses, object),
            "error": np.array(errors, object),
        }

    return fetch_and_decode


def _decoded(decoder: Decoder, uri: str, content: bytes | Exception) -> Fields:
    content = whole_file(uri, content)
    if isinstance(content, Exception):
        found = failed("too_large" if isinstance(content, TooLongError) else "fetch_error", content)
    else:
        found = decoder.image(content)
    return _without_secrets(found)


def _decoded_mask(decoder: Decoder, uri: str, content: bytes | Exception, image: Fields) -> Fields:
    content = whole_file(uri, content)
    if isinstance(content, Exception):
        return _without_secrets(failed("mask_error", content))
    return _without_secrets(decoder.mask(content, image))


def _without_secrets(found: Fields) -> Fields:
    return found if found["status"] == OK else found | {"error": storage.redacted(found["error"])[:LONGEST_ERROR]}
