"""A tiny set of images with masks, for tests of the job."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((48, 64), (64, 48), (40, 40))


def write_tiny_set(folder: Path, count: int) -> tuple[Path, Path]:
    """Write `count` images of a red disc on a textured ground, and their masks; return the two folders."""
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    for index in range(count):
        generator = np.random.default_rng(index)
        height, width = SIZES[index % len(SIZES)]
        pixels = generator.integers(60, 140, (height, width, 3), dtype=np.uint8)
        y, x = np.mgrid[:height, :width]
        disc = (y - height * generator.uniform(0.3, 0.7)) ** 2 + (x - width * generator.uniform(0.3, 0.7)) ** 2 < 100
        pixels[disc] = (200, 40, 30)
        Image.fromarray(pixels).save(images / f"image {index:03d}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(masks / f"image {index:03d}.png")
    return images, masks


TINY_NETWORK = ["--model", "squeezenet1_1", "--weights", "random", "--num-classes", "5", "--input-size", "64"]
QUICK = [*TINY_NETWORK, "--iterations", "2", "--rows-per-file", "4"]
