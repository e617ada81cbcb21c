"""Hold region contrast against the maps that its authors published for ECSSD.

    python -m benchmarks.studies.region_contrast_agreement [FOLDER] [--step N]

FOLDER holds ``ecssd/images``, ``ecssd/ground_truth_mask`` and ``ecssd/rc_authors``; without it the
environment variable SALIENCY_REAL_DATA is read. Prints the mean per-image Pearson correlation, the best
F-beta of the mean precision-recall curve of both sets of maps, and the seconds an image.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saliency_core.methods.region_contrast import region_contrast
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit


def map_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Pearson correlation of two maps; NaN if one of them is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold region contrast against its authors' maps.")
    parser.add_argument("folder", nargs="?", default=os.environ.get("SALIENCY_REAL_DATA"))
    parser.add_argument("--step", type=int, default=1, help="take every N-th image")
    arguments = parser.parse_args()
    if not arguments.folder:
        parser.error("name the folder, or set SALIENCY_REAL_DATA")
    ecssd = Path(arguments.folder) / "ecssd"

    if not (ecssd / "images").is_dir():
        parser.error(f"there is no folder {ecssd / 'images'}")

    correlations, seconds = [], []
    ours, authors = DataSetScores(), DataSetScores()
    for path in sorted((ecssd / "images").glob("*.jpg"))[:: arguments.step]:
        with (
            Image.open(path) as photograph,
            Image.open(ecssd / "rc_authors" / f"{path.stem}.png") as map_image,
            Image.open(ecssd / "ground_truth_mask" / f"{path.stem}.png") as mask_image,
        ):
            image = np.array(photograph.convert("RGB"))
            expected = np.array(map_image.convert("L"))
            foreground = np.array(mask_image.convert("L")) > 127
        start = time.perf_counter()
        saliency = region_contrast(image)
        seconds.append(time.perf_counter() - start)
        correlations.append(map_correlation(saliency, expected))
        ours.add(*map_histograms(to_8bit(saliency), foreground))
        authors.add(*map_histograms(to_8bit(expected), foreground))

    values = np.array(correlations)
    print(f"images                   {len(values)}")
    print(f"mean correlation         {np.nanmean(values):.4f}  (undefined for {np.isnan(values).sum()})")
    print(f"median, lowest           {np.nanmedian(values):.4f}, {np.nanmin(values):.4f}")
    print(f"images below 0.95        {np.count_nonzero(values < 0.95)}")
    print(f"best F-beta, ours        {ours.figures().f_beta_of_mean_curve:.4f}")
    print(f"best F-beta, authors'    {authors.figures().f_beta_of_mean_curve:.4f}")
    print(f"seconds an image         {np.mean(seconds):.3f}")


if __name__ == "__main__":
    main()
