"""Trains the demonstration's network from scratch on drawn scenes, by the fine-tuning job: `python -m demo.train`.

Takes some minutes on two processor cores. Drawing, initial weights and order of the images come from one seed.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cyclopts

from demo.drawing import CLASS_NAMES, draw_indexed_scene
from demo.tiny_vgg import INPUT_SIZE
from jobs import finetune
from jobs.planning.networks import MODEL
from saliency_core.imaging.png import encode_png
from saliency_core.imaging.resizing import squash

HELD_OUT_SEED = 1_000_003
"""Series of the scenes that the errors are measured on; the training's own seed may not equal it."""

RECIPE = (
    *("--model", "demo.tiny_vgg:TinyVGG", "--weights", "random", "--optimiser", "adamw", "--learning-rate", "0.004"),
    *("--weight-decay", "0.02", "--batch-size", "64", "--warmup-epochs", "2", "--augmentation", "symmetries"),
    *("--validation-share", "0.05"),
)
"""Settings of the fine-tuning job, but for the images and the epochs."""


def write_scenes(folder: Path, count: int, seed: int, workers: int = 1) -> None:
    """Draw the first scenes of a series into a folder for every class, squashed to the network's input.

    Parameters
    ----------
    folder
        Is made.
    count
        Number of scenes.
    seed
        Series of scenes, see `demo.drawing.draw_indexed_scene`.
    workers
        Processes to draw with.
    """
    for name in CLASS_NAMES:
        (folder / name).mkdir(parents=True)
    write = partial(_write_scene, folder, seed)
    if workers == 1:
        for index in range(count):
            write(index)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(write, range(count), chunksize=64))


def _write_scene(folder: Path, seed: int, index: int) -> None:
    scene = draw_indexed_scene(index, seed)
    content = encode_png(squash(scene.image, INPUT_SIZE))
    (folder / CLASS_NAMES[scene.class_index] / f"{index:05d}.png").write_bytes(content)


def arguments(folder: Path, output: Path, epochs: int, seed: int) -> Sequence[str]:
    """Return the command line of the fine-tuning job over the scenes in `folder`."""
    return [
        *("--images", str(folder / "train"), "--test", str(folder / "test")),
        *("--class-names", str(folder / "classes.txt"), "--output", str(output)),
        *("--epochs", str(epochs), "--seed", str(seed), *RECIPE),
    ]


def train(
    *,
    output: Path = Path("demo/classifier.safetensors"),
    scenes: int = 8000,
    epochs: int = 10,
    held_out: int = 800,
    seed: int = 0,
    workers: int = 2,
) -> int:
    """Draw scenes, train the network on them, measure it on scenes it has not seen, and write the weights.

    Parameters
    ----------
    output
        Safetensors file to write; `classes.txt` is written beside it.
    scenes
        Number of scenes to train on.
    epochs
        Passes over these scenes.
    held_out
        Number of further scenes that the printed errors are measured on.
    seed
        Of everything that is left to chance.
    workers
        Processes to draw with.

    Returns
    -------
    int
        The exit code of the fine-tuning job.

    Raises
    ------
    ValueError
        If the seed is that of the held-out scenes.
    """
    if seed == HELD_OUT_SEED:
        raise ValueError(f"seed {seed} draws the held-out scenes; choose another seed.")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder / "train", scenes, seed, workers)
        write_scenes(folder / "test", held_out, HELD_OUT_SEED, workers)
        names = "".join(f"{name}\n" for name in CLASS_NAMES)
        (folder / "classes.txt").write_text(names, encoding="utf-8")
        print(f"drew {scenes + held_out} scenes in {time.perf_counter() - started:.0f} s", flush=True)
        code = finetune.main(arguments(folder, folder / "run", epochs, seed))
        if code == 0:
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "run" / MODEL, output)
            output.with_name("classes.txt").write_text(names, encoding="utf-8")
            print(f"wrote {output}; {time.perf_counter() - started:.0f} s in all")
    return code


if __name__ == "__main__":
    raise SystemExit(cyclopts.run(train))
