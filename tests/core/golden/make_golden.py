"""Golden scores of synthetic maps, computed by PySODMetrics.

The tests rebuild the same maps and masks with `golden_cases` and compare their scores with `scores.json`,
which this script wrote. PySODMetrics is not a dependency of the project; to make the file anew, from the
repository root::

    python -m venv /tmp/pysodmetrics
    /tmp/pysodmetrics/bin/pip install pysodmetrics==1.6.2
    /tmp/pysodmetrics/bin/python -m tests.core.golden.make_golden

All maps but the constant one use the whole range 0..255. On such maps PySODMetrics' own min-max stretch is
the identity, and its truncation to 8 bits loses nothing; on others it would differ from rounding by up to a
level.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SCORES = Path(__file__).with_name("scores.json")
HEIGHT, WIDTH = 61, 84


class Case(NamedTuple):
    """A uint8 map and a bool mask of one shape (H, W)."""

    map_8bit: NDArray[np.uint8]
    foreground: NDArray[np.bool_]


def golden_cases() -> dict[str, Case]:
    """The synthetic maps and masks by name; the same on every machine."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    # Raw words of a bit generator: the one random stream that numpy promises never to change.
    noise = (np.random.PCG64(20160202).random_raw(HEIGHT * WIDTH) >> np.uint64(56)).astype(np.uint8)
    noise = noise.reshape(HEIGHT, WIDTH)
    ellipse = ((rows - 25) / 14) ** 2 + ((columns - 50) / 22) ** 2 < 1
    two_parts = ellipse & (columns < 45) | (rows > 40) & (columns < 30)
    one_pixel = np.zeros_like(ellipse)
    one_pixel[20, 30] = True
    nothing, everything = np.zeros_like(ellipse), np.ones_like(ellipse)
    gradient = np.rint(columns * 255 / (WIDTH - 1)).astype(np.uint8)
    blob = np.rint(255 * np.exp(-(((rows - 28) / 12) ** 2) - ((columns - 45) / 18) ** 2))
    blob = np.rint((blob - blob.min()) / (blob.max() - blob.min()) * 255).astype(np.uint8)
    noisy_blob = np.maximum(blob, noise // 3)
    sparse = np.where(noise > 252, noise, 0).astype(np.uint8)
    perfect = ellipse * np.uint8(255)
    return {
        "blob on ellipse": Case(blob, ellipse),
        "noisy blob on two parts": Case(noisy_blob, two_parts),
        "gradient on ellipse": Case(gradient, ellipse),
        "noise on two parts": Case(noise, two_parts),
        "sparse map": Case(sparse, ellipse),
        "perfect map": Case(perfect, ellipse),
        "inverted map": Case(255 - perfect, ellipse),
        "constant map": Case(np.zeros_like(noise), ellipse),
        "one pixel": Case(blob, one_pixel),
        "full mask": Case(gradient, everything),
        "empty mask": Case(noise, nothing),
    }


def pysodmetrics_scores(cases: list[Case]) -> dict[str, float]:
    """Scores of a set of images by PySODMetrics."""
    import py_sod_metrics as sod  # type: ignore[import-not-found]

    measures: dict[str, Any] = {
        "f": sod.Fmeasure(),
        "mae": sod.MAE(),
        "s": sod.Smeasure(),
        "e": sod.Emeasure(),
        "wf": sod.WeightedFmeasure(),
    }
    for case in cases:
        for measure in measures.values():
            measure.step(pred=case.map_8bit, gt=case.foreground * np.uint8(255))
    f = measures["f"].get_results()["fm"]
    e = measures["e"].get_results()["em"]
    return {
        "f_beta_max": float(f["curve"].max()),
        "f_beta_mean": float(f["curve"].mean()),
        "f_beta_adaptive": float(f["adp"]),
        "mae": float(measures["mae"].get_results()["mae"]),
        "s_measure": float(measures["s"].get_results()["sm"]),
        "e_measure_adaptive": float(e["adp"]),
        "e_measure_mean": float(e["curve"].mean()),
        "e_measure_max": float(e["curve"].max()),
        "weighted_f_beta": float(measures["wf"].get_results()["wfm"]),
    }


def main() -> None:
    """Write scores.json: every case by itself, and all cases with an object as one data set."""
    warnings.simplefilter("ignore", UserWarning)  # Fmeasure announces its successor, which takes longer to set up
    cases = golden_cases()
    scores = {name: pysodmetrics_scores([case]) for name, case in cases.items()}
    scores["all with an object"] = pysodmetrics_scores([c for c in cases.values() if c.foreground.any()])
    SCORES.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
