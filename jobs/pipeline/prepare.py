"""First step: fetch images and masks, decode them, compute superpixels. Rows in, rows out, whatever befalls them.

Superpixels are computed here, before the network: afterwards only labels and one number a superpixel are needed,
so that the pixels of an image stop travelling where they were decoded.
"""

import time
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.decoding.files import DecodeSettings, Fields
from jobs.decoding.process import shared_decoder
from jobs.errors import NoBytesError
from jobs.inputs.archives.reading import read_bytes, read_many
from jobs.pipeline.packing import packed_regions, packed_sizes
from jobs.pipeline.tables import PREPARED
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from saliency_core.methods.registry import METHODS, ImageMethod
from saliency_core.parameters import OBJECTS
from saliency_core.refining.stages import describe_superpixels

FETCHED_AT_ONCE = 32
"""Images whose bytes are held in memory at a time, by one task."""
FIRST_BYTES = 2**25
"""Bytes of each of them that are read at once; the few files that are longer are read one by one, when it is their
turn, so that a task holds 1 GiB and one long file at most."""
MOST_BYTES = 2**30
"""A longer file is too large, whatever it holds."""
LONGEST_ERROR = 500
"""Characters of a row's error."""


_OF_IMAGES = ("width", "height", "map_width", "map_height", "share_read", "input")


class PrepareStep:
    """Turn rows of the manifest into rows ready for the network.

    Parameters
    ----------
    settings : SaliencySettings
    input_size : int, optional
        Side of the square to which images are squashed for the method; None for one without a network.
    """

    def __init__(self, settings: SaliencySettings, input_size: int | None) -> None:
        self.settings = settings
        self.input_size = input_size
        self.method = METHODS[settings.method]
        self.needs_pixels = OBJECTS in settings.stages and settings.objects.needs_pixels
        self.decoder = shared_decoder(
            DecodeSettings(
                max_pixels=settings.max_pixels,
                working_size=settings.working_size,
                input_size=input_size,
                mask_format=settings.mask_format,
                mask_orientation=settings.mask_orientation,
                original_masks=settings.map_size == "original",
                accept_truncated=settings.accept_truncated,
            )
        )

    def __call__(self, manifest_rows: pa.Table) -> pa.Table:
        """Rows of `manifest.SCHEMA` in, as many rows of `PREPARED` out, in the same order.

        Raises
        ------
        SurroundingsError
            If files cannot be read for a reason that is none of theirs.
        """
        rows: list[dict[str, Any]] = []
        for batch in manifest_rows.to_batches(max_chunksize=FETCHED_AT_ONCE):
            inputs = batch.to_pylist()
            started = time.perf_counter()
            with_mask = [row["mask_uri"] for row in inputs if row["mask_uri"] is not None]
            # Together: in an archive masks lie between the images.
            contents = read_many([*(row["image_uri"] for row in inputs), *with_mask], FIRST_BYTES)
            masks = dict(zip(with_mask, contents[len(inputs) :], strict=True))
            seconds = (time.perf_counter() - started) / len(inputs)
            for row, content in zip(inputs, contents[: len(inputs)], strict=True):
                prepared = self._prepare(row, content, masks.get(row["mask_uri"]))
                rows.append(prepared | {"seconds_fetch": seconds})
        return pa.Table.from_pylist(rows, schema=PREPARED)

    def _prepare(
        self, row: dict[str, Any], content: bytes | Exception, mask: bytes | Exception | None
    ) -> dict[str, Any]:
        prepared = _begun(row)
        content = whole_file(row["image_uri"], content)
        if isinstance(content, TooLongError):
            return prepared | _failed("too_large", content)
        if isinstance(content, Exception):
            return prepared | _failed("fetch_error", content)
        started = time.perf_counter()
        image = self.decoder.image(content)
        if image["status"] != "ok":
            return prepared | {"status": image["status"], "error": image["error"][:LONGEST_ERROR]}
        prepared |= {name: image[name] for name in _OF_IMAGES}
        if self.settings.segment or self.needs_pixels:
            prepared["pixels"] = image["pixels"]
        if mask is not None and not isinstance(mask, NoBytesError):
            prepared |= self._mask(row["mask_uri"], mask, image)
        decoded = time.perf_counter()
        prepared["seconds_decode"] = decoded - started
        working = np.frombuffer(image["pixels"], np.uint8).reshape(image["map_height"], image["map_width"], 3)
        try:
            if isinstance(self.method, ImageMethod):
                maps = self.method.maps(working, self.settings.parameters)
                prepared["image_maps"] = np.stack([maps[stage] for stage in self.method.stages]).tobytes()
            else:
                superpixels = describe_superpixels(working, self.settings.parameters)
                prepared["superpixel_labels"] = superpixels.labels.astype(np.uint16).tobytes()
                prepared["low_level"] = superpixels.low_level.tobytes()
                if self.method.is_of_superpixels:
                    prepared["regions"] = packed_regions(superpixels)
                if superpixels.sizes:
                    prepared["object_labels"], prepared["object_colours"] = packed_sizes(superpixels)
        except Exception as error:  # whatever one odd image does to a method must not end the others
            return prepared | _failed("method_error", error)
        prepared["seconds_superpixels"] = time.perf_counter() - decoded
        return prepared

    def _mask(self, uri: str, content: bytes | Exception, image: Fields) -> dict[str, Any]:
        content = whole_file(uri, content)
        if isinstance(content, Exception):
            return _failed("mask_error", content)
        mask = self.decoder.mask(content, image)
        if mask["status"] != "ok":
            return {"status": mask["status"], "error": mask["error"][:LONGEST_ERROR]}
        return {name: mask[name] for name in ("mask_foreground", "mask_valid")}


def unprepared(manifest_rows: pa.Table) -> pa.Table:
    """Return rows of `PREPARED` to which nothing has been done."""
    return pa.Table.from_pylist([_begun(row) for row in manifest_rows.to_pylist()], schema=PREPARED)


class TooLongError(ValueError):
    """A file has more bytes than any image that is decoded."""


def whole_file(uri: str, content: bytes | Exception) -> bytes | Exception:
    """Return the content of a file of which the first bytes were read, or the file's own fault.

    Raises
    ------
    SurroundingsError
        If no other file could be read from here either.
    """
    content = storage.checked_surroundings(uri, content)
    if isinstance(content, Exception) or len(content) < FIRST_BYTES:
        return content
    try:
        content = read_bytes(uri, MOST_BYTES + 1)
    except Exception as error:  # as in read_many
        return storage.checked_surroundings(uri, error)
    if len(content) > MOST_BYTES:
        return TooLongError(f"the file has more than {MOST_BYTES} bytes")
    return content


def _begun(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": row["image_id"],
        "image_uri": row["image_uri"],
        "mask_uri": row["mask_uri"],
        "wanted_label": row["label"],
        "status": "ok",
        "error": None,
    }


def _failed(status: str, error: Exception) -> dict[str, str]:
    reason = " ".join(str(error).split()) or type(error).__name__
    return {"status": status, "error": storage.redacted(f"{type(error).__name__}: {reason}")[:LONGEST_ERROR]}
