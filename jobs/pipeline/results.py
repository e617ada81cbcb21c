"""Last step: the chain of maps, scores, PNG, and one Parquet file a shard."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.inputs.archives.uris import without_place
from jobs.pipeline.packing import unpacked_depths, unpacked_sizes
from jobs.run.layout import shard_file
from jobs.run.redo import KEPT, merged
from jobs.run.results_files import read_results, write_results
from jobs.run.schema import results_schema
from jobs.run.summary import Summary
from jobs.settings import SaliencySettings
from jobs.storage.redaction import redacted, shown_uri
from saliency_core.imaging.masks import Mask, resize_mask
from saliency_core.imaging.png import encode_png
from saliency_core.imaging.resizing import resize_map
from saliency_core.methods.registry import METHODS, ImageMethod
from saliency_core.parameters import OBJECTS
from saliency_core.refining.refinement import SaliencyMap
from saliency_core.refining.stages import Superpixels, maps_of_method
from saliency_core.scoring.histograms import image_scores, map_histograms, to_8bit
from saliency_core.scoring.segmentation import segmentation_scores
from saliency_core.segmentation.saliency_cut import saliency_cut


class ResultStep:
    """Finish rows and write them.

    Parameters
    ----------
    settings : SaliencySettings
    epoch : str
        Of the run's results, see `jobs.run.layout.shard_file`.
    before_write : callable
        Called when all is computed and nothing written.
    """

    def __init__(
        self, settings: SaliencySettings, epoch: str = "", before_write: Callable[[], None] = lambda: None
    ) -> None:
        self.settings = settings
        self.epoch = epoch
        self.before_write = before_write
        self.method = METHODS[settings.method]
        self.schema = results_schema(settings.stages, settings.segment)

    def __call__(self, rows: pa.Table, shard: int) -> Summary:
        """Finish and write one shard, and return its sums.

        Rows with the status `KEPT` stay as the shard's file has them.
        """
        results = pa.Table.from_pylist([self._finish(row) for row in rows.to_pylist()], schema=self.schema)
        uri = shard_file(self.settings.output, shard, self.epoch)
        if KEPT in results["status"].to_pylist():
            results = merged(results, read_results(uri))
        self.before_write()
        write_results(results, uri)
        summary = Summary(self.settings.stages)
        summary.add(results)
        return summary

    def _finish(self, row: dict[str, Any]) -> dict[str, Any]:
        result = {name: row.get(name) for name in self.schema.names}
        # The manifest alone holds URIs with their credentials, and places in archives; a row is for everybody.
        for name in ("image_uri", "mask_uri"):
            result[name] = shown_uri(without_place(row[name])) if row[name] is not None else None
        if row["status"] not in ("ok", "mask_error"):
            return result
        started = time.perf_counter()
        try:
            result |= self._maps(row)
        except Exception as error:  # whatever one odd image does must not end the others
            reason = " ".join(str(error).split())[:400]
            result |= {"status": "method_error", "error": redacted(f"{type(error).__name__}: {reason}")}
        result["seconds_maps"] = time.perf_counter() - started - (result["seconds_segmentation"] or 0.0)
        return result

    def _maps(self, row: dict[str, Any]) -> dict[str, Any]:
        height, width = row["map_height"], row["map_width"]
        maps: dict[str, SaliencyMap]
        found: dict[str, Any] = {}
        if isinstance(self.method, ImageMethod):
            stacked = np.frombuffer(row["image_maps"], np.float32).reshape(-1, height, width)
            maps = dict(zip(self.method.stages, stacked, strict=True))
        else:
            labels = np.frombuffer(row["superpixel_labels"], np.uint16).reshape(height, width).astype(np.int32)
            needs_pixels = self.settings.objects.needs_pixels
            pixels = np.frombuffer(row["pixels"], np.uint8).reshape(height, width, 3) if needs_pixels else None
            sizes = unpacked_sizes(row["object_labels"], row["object_colours"], labels)
            superpixels = Superpixels(labels, np.frombuffer(row["low_level"], np.float32), sizes, pixels)
            raw = np.frombuffer(row["raw"], np.float32)
            of_superpixels = self.method.is_of_superpixels
            raw = raw.reshape((len(self.method.stages), -1) if of_superpixels else (round(len(raw) ** 0.5),) * 2)
            layers, features = unpacked_depths(row["depths"])
            maps = maps_of_method(self.method, raw, superpixels, self.settings.parameters, layers, features)
            found["superpixels"] = len(superpixels.low_level)
        mask = None
        if row["mask_foreground"] is not None:
            size = (row["height"], row["width"]) if self.settings.map_size == "original" else (height, width)
            mask = (_unpack(row["mask_foreground"], *size), _unpack(row["mask_valid"], *size))
            found["mask_empty"] = not (mask[0] & mask[1]).any()
        if self.settings.segment:
            found |= self._segmentation(row, maps[self.settings.stages[-1]], mask)
        if self.settings.map_size == "original":
            height, width = row["height"], row["width"]
            if isinstance(self.method, ImageMethod):
                maps = {stage: self.method.enlarged(map_, height, width) for stage, map_ in maps.items()}
            else:  # the chain once more: resized, a superpixel would not have one value any longer
                found_objects = {OBJECTS: resize_map(maps[OBJECTS], height, width)} if OBJECTS in maps else {}
                superpixels = replace(superpixels.at_size(height, width), sizes=())
                maps = maps_of_method(self.method, raw, superpixels, self.settings.parameters)
                maps |= found_objects
            found |= {"map_height": height, "map_width": width}
        for stage, map_ in maps.items():
            levels = to_8bit(map_)
            found[f"map_{stage}"] = {"bytes": encode_png(levels), "path": None}
            if mask is None:
                continue
            foreground, background = map_histograms(levels, *mask)
            found[f"foreground_histogram_{stage}"] = foreground
            found[f"background_histogram_{stage}"] = background
            scores = image_scores(foreground, background)
            if scores is not None:
                found[f"f_beta_{stage}"] = scores.f_beta
                found[f"f_beta_adaptive_{stage}"] = scores.f_beta_adaptive
                found[f"mae_{stage}"] = scores.mae
        return found

    def _segmentation(
        self, row: dict[str, Any], map_: SaliencyMap, mask: tuple[np.ndarray, np.ndarray] | None
    ) -> dict[str, Any]:
        started = time.perf_counter()
        pixels = np.frombuffer(row["pixels"], np.uint8).reshape(*map_.shape, 3)
        segmented = saliency_cut(pixels, map_)
        if self.settings.map_size == "original":
            whole = Mask(segmented, np.ones_like(segmented))
            segmented = resize_mask(whole, row["height"], row["width"]).foreground
        found: dict[str, Any] = {
            "segmentation": {"bytes": encode_png(segmented.astype(np.uint8) * 255), "path": None},
            "seconds_segmentation": time.perf_counter() - started,
        }
        scores = segmentation_scores(segmented, *mask) if mask is not None else None
        if scores is not None:
            found |= {"segmentation_f_beta": scores.f_beta, "segmentation_iou": scores.iou}
        return found


def _unpack(bits: bytes, height: int, width: int) -> np.ndarray:
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width)
    return flat.astype(bool).reshape(height, width)
