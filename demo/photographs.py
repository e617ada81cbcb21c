"""Photographs that anybody may show, with their maps: ``python -m demo.photographs --weights FILE``.

The photographs are those of scikit-image's wheel: Chelsea the cat (CC0, Stefan van der Walt), a coffee cup (CC0, Rachel
Michetti), the astronaut Eileen Collins (NASA, public domain) and a rocket's launch (SpaceX, CC0). The network must know
ImageNet's classes.
"""

import argparse
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from saliency_core import load_classifier, saliency_batch
from saliency_core.imaging.resizing import resize_longest_side
from saliency_core.networks.options import PRETRAINED
from saliency_core.scoring.histograms import to_8bit

NAMES = ("chelsea", "coffee", "astronaut", "rocket")
SIDE = 256
GAP = 6


def write_picture(path: Path, model: str, weights: str) -> list[str]:
    """Write one row a photograph, itself and the map of every stage, and return what the network saw in each.

    Parameters
    ----------
    path : Path
        Of the PNG file.
    model, weights : str
        As for `load_classifier`.
    """
    classifier = load_classifier(model, weights)
    images = [resize_longest_side(getattr(skimage.data, name)(), 512) for name in NAMES]
    rows: list[NDArray[np.uint8]] = []
    seen = []
    for result in saliency_batch(images, classifier):
        cells = [result.image, *(np.stack([to_8bit(map_)] * 3, axis=2) for map_ in result.maps.values())]
        rows.append(np.concatenate([_framed(cell) for cell in cells], axis=1))
        seen.append(str(result.label_name))
    Image.fromarray(np.concatenate(rows)).save(path)
    return seen


def _framed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fit an image into a white square."""
    square = np.full((SIDE + GAP, SIDE + GAP, 3), 255, np.uint8)
    small = resize_longest_side(image, SIDE)
    top, left = ((SIDE + GAP - length) // 2 for length in small.shape[:2])
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


def main() -> None:
    """Write the picture and say what the network saw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", default=PRETRAINED)
    parser.add_argument("--output", type=Path, default=Path("photographs.png"))
    options = parser.parse_args()
    seen = write_picture(options.output, options.model, options.weights)
    for name, label in zip(NAMES, seen, strict=True):
        print(f"{name}: {label}")
    print(options.output)


if __name__ == "__main__":
    main()
