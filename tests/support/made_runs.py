"""Runs of the job made by hand, without Ray and network, for tests of what reads them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from jobs.run.layout import shard_file
from jobs.run.results_files import write_results
from jobs.run.schema import SCHEMA_VERSION, TIMED, results_schema
from jobs.settings import SaliencySettings
from jobs.storage.hashing import stable_id
from saliency_core.imaging.png import encode_png
from saliency_core.scoring.histograms import image_scores, map_histograms


@dataclass
class MadeRow:
    """A row of results.

    Attributes
    ----------
    uri
        Of the image; its id follows from it.
    maps
        uint8 (H, W), one a stage; empty for a row that failed.
    foreground
        bool (H, W) at the size of the maps; None: no mask.
    columns
        Any other column, or another value for one.
    """

    uri: str
    maps: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    foreground: NDArray[np.bool_] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        row: dict[str, Any] = {"image_id": stable_id(self.uri), "image_uri": self.uri, "status": "ok"}
        row |= {f"seconds_{name}": 0.5 for name in TIMED}
        for stage, levels in self.maps.items():
            row[f"map_{stage}"] = {"bytes": encode_png(levels), "path": None}
            row["height"], row["width"] = row["map_height"], row["map_width"] = levels.shape
            if self.foreground is None:
                continue
            inside, outside = map_histograms(levels, self.foreground)
            row[f"foreground_histogram_{stage}"], row[f"background_histogram_{stage}"] = inside, outside
            scores = image_scores(inside, outside)
            row["mask_empty"] = scores is None
            if scores is not None:
                row[f"f_beta_{stage}"] = scores.f_beta
        return row | dict(self.columns)


def make_run(
    folder: Path,
    rows: Sequence[MadeRow],
    *,
    stages: Sequence[str] = ("raw", "refined"),
    method: str = "clamped-erasure",
    finished: bool = True,
    rows_per_file: int = 2,
    segmented: bool = False,
) -> str:
    """Write a run and return its URI."""
    folder.mkdir(parents=True)
    schema = results_schema(stages, segmented)
    for shard, start in enumerate(range(0, len(rows), rows_per_file)):
        part = [row.values() for row in rows[start : start + rows_per_file]]
        write_results(pa.Table.from_pylist(part, schema=schema), shard_file(str(folder), shard))
    settings = SaliencySettings(images="images", output=str(folder), method=method).recorded()
    record = {
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "started": "2026-01-01T00:00:00+00:00",
        "weights_sha256": "0123456789abcdef" if method == "clamped-erasure" else None,
        "images_per_second": 4.0,
    }
    (folder / "_run.json").write_text(json.dumps(record))
    if finished:
        (folder / "_SUCCESS").touch()
    return str(folder)


def ten_pixels(foreground: int, inside: int, outside: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a map of ten pixels, 255 on `inside` pixels of the mask and on `outside` beside it, and the mask."""
    mask = np.arange(10) < foreground
    levels = np.zeros(10, np.uint8)
    levels[:inside] = 255
    levels[foreground : foreground + outside] = 255
    return levels.reshape(2, 5), mask.reshape(2, 5)


def write_picture(path: Path, pixels: NDArray[Any]) -> str:
    """Write a PNG file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels.dtype == np.bool_:
        pixels = pixels * np.uint8(255)
    Image.fromarray(pixels).save(path, "PNG")
    return str(path)
