"""Makes ``maps.npz``: three drawn scenes, and what the methods made of them when they were last looked at.

``python -m tests.core.golden.make_maps``. Look at the pictures that ``--pictures FOLDER`` writes before you commit new
ones: a golden map says that nothing changed, not that it is right.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from demo.tiny_vgg import TinyVGG
from saliency_core import load_classifier, saliency
from saliency_core.methods.histogram_contrast import histogram_contrast
from saliency_core.methods.region_contrast import region_contrast
from saliency_core.parameters import (
    ErasureParameters,
    LowLevelParameters,
    ObjectParameters,
    RefinementParameters,
    SaliencyParameters,
    SuperpixelParameters,
    ViewParameters,
)
from saliency_core.refining.stages import chain_of_maps, describe_superpixels
from saliency_core.scoring.histograms import to_8bit
from saliency_core.segmentation.saliency_cut import saliency_cut

FILE = Path(__file__).with_name("maps.npz")
CLASSIFIER = Path(__file__).parents[3] / "demo" / "classifier.safetensors"
NETWORK = f"{TinyVGG.__module__}:{TinyVGG.__name__}"
HEIGHT, WIDTH = 96, 128
PARAMETERS = SaliencyParameters(
    erasure=ErasureParameters(epsilon=0.1, gamma=2e-3, iterations=10),
    superpixels=SuperpixelParameters(segments=100, compactness=10),
    low_level=LowLevelParameters(centre_falloff=15, colour_sigma=20, distribution_falloff=0.75),
    refinement=RefinementParameters(theta=0.05, alpha=0.1, theta_refined=0.1),
    views=ViewParameters(),
    objects=ObjectParameters(objects=False),
)
"""Of the paper's chain, written out: the maps of the file shall not change with a preset."""


def draw_scenes() -> NDArray[np.uint8]:
    """Draw a disc on a gradient, a star-like blob over two grounds, and stripes behind a bar at the border."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    generator = np.random.default_rng(5)
    scenes = []
    ground = np.stack([60 + x / 2, 90 + y / 3, 140 - x / 4], axis=-1)
    ground[(y - 45) ** 2 + (x - 70) ** 2 < 24**2] = (200, 60, 50)
    ground[(y - 38) ** 2 + (x - 62) ** 2 < 9**2] = (230, 190, 80)
    scenes.append(ground)
    ground = np.where((x + 20 * np.sin(y / 9) > 60)[..., None], (70, 130, 70), (150, 150, 120)).astype(float)
    angle, radius = np.arctan2(y - 52, x - 50), np.hypot(y - 52, x - 50)
    blob = radius < 20 + 8 * np.cos(5 * angle)
    ground[blob] = np.stack([90 + 4 * radius, 70 + 2 * radius, 190 - 3 * radius], axis=-1)[blob]
    scenes.append(ground)
    ground = np.where(((x + y) // 12 % 2 == 0)[..., None], (120, 110, 100), (90, 85, 80)).astype(float)
    ground[30:80, 90:] = (60, 90, 180)
    ground[20:60, 25:55] = (210, 200, 60)
    scenes.append(ground)
    noisy = [scene + gaussian_filter(generator.normal(0, 30, scene.shape), (1, 1, 0)) for scene in scenes]
    return np.stack([np.clip(scene, 0, 255).astype(np.uint8) for scene in noisy])


def rough_maps(scenes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Make a saliency map of each scene that is roughly right, as a network's would be, for the steps behind one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    centres = ((48, 66, 17), (50, 52, 14), (40, 44, 13))
    maps = [np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * size**2)) for row, column, size in centres]
    waves = 0.15 * (1 + np.sin(x / 5) * np.cos(y / 7))
    return np.stack([map_ + waves for map_ in maps]).astype(np.float32)


def make(scenes: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    """Run all methods over the scenes; maps in 16 bits of their own range."""
    classifier = load_classifier(NETWORK, CLASSIFIER)
    roughs = rough_maps(scenes)
    found: dict[str, list[NDArray[np.generic]]] = {}
    for scene, rough in zip(scenes, roughs, strict=True):
        superpixels = describe_superpixels(scene, PARAMETERS)
        chain = chain_of_maps(rough, superpixels, PARAMETERS)
        whole = saliency(scene, classifier, parameters=PARAMETERS)
        made: dict[str, NDArray[np.generic]] = {
            "slic": superpixels.labels.astype(np.uint8),
            "low_level": superpixels.low_level[superpixels.labels].astype(np.float16),
            "region_contrast": region_contrast(scene).astype(np.float16),
            "histogram_contrast": histogram_contrast(scene).astype(np.float16),
            "saliency_cut": saliency_cut(scene, rough),
            **{f"chain_{stage}": map_.astype(np.float16) for stage, map_ in chain.items()},
            **{f"saliency_{stage}": map_.astype(np.float16) for stage, map_ in whole.maps.items()},
            "saliency_label": np.array(whole.label),
        }
        for name, values in made.items():
            found.setdefault(name, []).append(values)
    return {name: np.stack(values) for name, values in found.items()}


def main() -> None:
    """Write the file, and pictures of what is in it where a folder for them is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    scenes = draw_scenes()
    found = make(scenes)
    np.savez_compressed(FILE, scenes=scenes, **found)  # type: ignore[arg-type]
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.hstack(list(scenes))).save(options.pictures / "scenes.png")
        for name, values in found.items():
            if values.ndim == 3:
                row = np.hstack([to_8bit(map_.astype(np.float64)) for map_ in values])
                Image.fromarray(row).save(options.pictures / f"{name}.png")
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
