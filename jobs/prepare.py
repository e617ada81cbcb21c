"""First step: fetch images and masks, decode them, compute superpixels. Rows in, rows out, whatever befalls them.

Superpixels are computed here, before the network: afterwards only labels and one number a superpixel are needed,
so that the pixels of an image stop travelling where they were decoded.
"""

import time
from typing import Any

import numpy as np
import pyarrow as pa

from jobs import storage
from jobs.settings import SaliencySettings
from saliency_core.images import (
    DecodedImage,
    DecodeError,
    TooLargeError,
    decode_image,
    resize_longest_side,
    squash,
)
from saliency_core.masks import Mask, MaskError, decode_mask, match_mask, resize_mask
from saliency_core.methods import METHODS, ImageMethod
from saliency_core.stages import describe_superpixels

FETCHED_AT_ONCE = 32
"""Images whose bytes are held in memory at a time, by one task."""

PREPARED = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("image_uri", pa.string(), nullable=False),
        pa.field("mask_uri", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("map_width", pa.int32()),
        pa.field("map_height", pa.int32()),
        pa.field("wanted_label", pa.int64(), nullable=False),
        # The network's input, uint8 (S, S, 3).
        pa.field("input", pa.binary()),
        # Superpixel labels, uint16 (map_height, map_width), and low-level saliency, float32 (n,).
        pa.field("superpixel_labels", pa.binary()),
        pa.field("low_level", pa.binary()),
        # Maps of a method without a network, float32 (stages, map_height, map_width).
        pa.field("image_maps", pa.binary()),
        # The image at working size, uint8 (map_height, map_width, 3); only where it is to be segmented.
        pa.field("pixels", pa.binary()),
        # The mask at the size at which maps are stored, bits packed.
        pa.field("mask_foreground", pa.binary()),
        pa.field("mask_valid", pa.binary()),
        pa.field("seconds_fetch", pa.float32()),
        pa.field("seconds_decode", pa.float32()),
        pa.field("seconds_superpixels", pa.float32()),
    ]
)
"""Rows on their way from decoding to the network."""


class PrepareStep:
    """Turn rows of the manifest into rows ready for the network.

    Parameters
    ----------
    settings : SaliencySettings
    input_size : int, optional
        Side of the network's square input; None for a method without a network.
    """

    def __init__(self, settings: SaliencySettings, input_size: int | None) -> None:
        self.settings = settings
        self.input_size = input_size
        self.method = METHODS[settings.method]

    def __call__(self, manifest_rows: pa.Table) -> pa.Table:
        """Rows of `manifest.SCHEMA` in, as many rows of `PREPARED` out, in the same order."""
        rows: list[dict[str, Any]] = []
        for batch in manifest_rows.to_batches(max_chunksize=FETCHED_AT_ONCE):
            inputs = batch.to_pylist()
            started = time.perf_counter()
            contents = storage.read_many([row["image_uri"] for row in inputs])
            with_mask = [row["mask_uri"] for row in inputs if row["mask_uri"] is not None]
            masks = dict(zip(with_mask, storage.read_many(with_mask), strict=True))
            seconds = (time.perf_counter() - started) / len(inputs)
            for row, content in zip(inputs, contents, strict=True):
                prepared = self._prepare(row, content, masks.get(row["mask_uri"]))
                rows.append(prepared | {"seconds_fetch": seconds})
        return pa.Table.from_pylist(rows, schema=PREPARED)

    def _prepare(
        self, row: dict[str, Any], content: bytes | Exception, mask: bytes | Exception | None
    ) -> dict[str, Any]:
        prepared = {
            "image_id": row["image_id"],
            "image_uri": row["image_uri"],
            "mask_uri": row["mask_uri"],
            "wanted_label": row["label"],
            "status": "ok",
            "error": None,
        }
        if isinstance(content, Exception):
            return prepared | _failed("fetch_error", content)
        started = time.perf_counter()
        try:
            image = decode_image(content, max_pixels=self.settings.max_pixels, reduce_to=self.settings.working_size)
        except TooLargeError as error:
            return prepared | _failed("too_large", error)
        except DecodeError as error:
            return prepared | _failed("decode_error", error)
        prepared |= {"width": image.width, "height": image.height}
        working = resize_longest_side(image.pixels, self.settings.working_size)
        prepared["map_height"], prepared["map_width"] = working.shape[:2]
        if self.input_size is not None:
            prepared["input"] = squash(image.pixels, self.input_size).tobytes()
        if self.settings.segment:
            prepared["pixels"] = working.tobytes()
        if mask is not None:
            prepared |= self._mask(mask, image, working.shape[:2])
        decoded = time.perf_counter()
        prepared["seconds_decode"] = decoded - started
        try:
            if isinstance(self.method, ImageMethod):
                maps = self.method.maps(working, self.settings.parameters)
                prepared["image_maps"] = np.stack([maps[stage] for stage in self.method.stages]).tobytes()
            else:
                superpixels = describe_superpixels(working, self.settings.parameters)
                prepared["superpixel_labels"] = superpixels.labels.astype(np.uint16).tobytes()
                prepared["low_level"] = superpixels.low_level.tobytes()
        except Exception as error:  # whatever one odd image does to a method must not end the others
            return prepared | _failed("method_error", error)
        prepared["seconds_superpixels"] = time.perf_counter() - decoded
        return prepared

    def _mask(self, content: bytes | Exception, image: DecodedImage, working_shape: tuple[int, ...]) -> dict[str, Any]:
        if isinstance(content, Exception):
            return _failed("mask_error", content)
        try:
            decoded = decode_mask(content, format=self.settings.mask_format, max_pixels=self.settings.max_pixels)
            mask: Mask = match_mask(
                decoded,
                (image.stored_height, image.stored_width),
                (image.height, image.width),
                image.orientation,
                orientation_of_ambiguous=self.settings.mask_orientation,
            )
        except MaskError as error:
            return _failed("mask_error", error)
        if self.settings.map_size == "working":
            mask = resize_mask(mask, *working_shape)
        return {
            "mask_foreground": np.packbits(mask.foreground).tobytes(),
            "mask_valid": np.packbits(mask.valid).tobytes(),
        }


def _failed(status: str, error: Exception) -> dict[str, str]:
    reason = " ".join(str(error).split()) or type(error).__name__
    return {"status": status, "error": storage.redacted(f"{type(error).__name__}: {reason}")[:500]}
