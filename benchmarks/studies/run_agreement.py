"""How far the maps of two runs over the same images agree: two precisions, say, or two devices.

``python -m benchmarks.studies.run_agreement FIRST SECOND`` with the outputs of two finished runs of the saliency job

Prints, for each stage, the Pearson correlation of the 8-bit maps over the images, for those where both runs erased the
same class and for the others apart: another class is another question, and has another map.
"""

import argparse
import json

import numpy as np
import pyarrow.parquet as pq

from jobs.run.layout import RESULTS
from jobs.storage import files as storage
from saliency_core.imaging.png import decode_png_map


def correlations(first: dict, second: dict, stages: list[str]) -> dict[str, float]:
    """Return each stage's correlation of an image's maps; NaN where one of them is constant."""
    found = {}
    for stage in stages:
        one, other = (decode_png_map(row[f"map_{stage}"]["bytes"]).ravel() for row in (first, second))
        with np.errstate(invalid="ignore", divide="ignore"):
            found[stage] = float(np.corrcoef(one, other)[0, 1])
    return found


def summary(values: list[float]) -> dict[str, float | int]:
    """Return how the correlations of some images are distributed."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not len(known):
        return {"images": len(values)}
    figures = {"median": np.median(known), "mean": known.mean(), "lowest": known.min()}
    return {"images": len(values)} | {name: round(float(value), 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first")
    parser.add_argument("second")
    options = parser.parse_args()
    runs = []
    for output in (options.first, options.second):
        table = pq.read_table(storage.join(storage.absolute(output), RESULTS))
        runs.append({row["image_id"]: row for row in table.to_pylist() if row["status"] in ("ok", "mask_error")})
    shared = sorted(set(runs[0]) & set(runs[1]))
    stages = [name.removeprefix("map_") for name in table.column_names if name.startswith("map_")]
    stages = [stage for stage in stages if stage not in ("width", "height")]
    parts: dict[str, list[dict[str, float]]] = {"same class": [], "other class": []}
    for image in shared:
        first, second = runs[0][image], runs[1][image]
        parts["same class" if first["label"] == second["label"] else "other class"].append(
            correlations(first, second, stages)
        )
    for stage in stages:
        for name, found in parts.items():
            print(json.dumps({"stage": stage, "part": name} | summary([values[stage] for values in found])))


if __name__ == "__main__":
    main()
