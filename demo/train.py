"""Trains the demonstration's network from scratch on drawn scenes: `python -m demo.train`.

Takes a few minutes on two processor cores. Drawing, initial weights and order of the batches come from one
seed.
"""

import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cyclopts
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from demo.drawing import CLASS_NAMES, draw_indexed_scene
from saliency_core.tiny_vgg import INPUT_SIZE, MEAN, STD, TinyVGG, tiny_vgg

BATCH_SIZE = 64
PEAK_LEARNING_RATE = 4e-3
HELD_OUT_SEED = 1_000_003
"""Series of the scenes that the accuracy is measured on; the training's own seed may not equal it."""


def _squashed_scene(index: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw a scene and squash it to the network's square input, as the saliency job does."""
    image = Image.fromarray(draw_indexed_scene(index, seed).image)
    return np.asarray(image.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR))


def draw_batch(count: int, seed: int, workers: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the first scenes of a series for the network.

    Parameters
    ----------
    count
        Number of scenes.
    seed
        Series of scenes, see `demo.drawing.draw_indexed_scene`.
    workers
        Processes to draw with.

    Returns
    -------
    images
        uint8 (count, 3, INPUT_SIZE, INPUT_SIZE), channels last in memory.
    labels
        int64 (count,), class indices.
    """
    draw = partial(_squashed_scene, seed=seed)
    if workers == 1:
        scenes = [draw(index) for index in range(count)]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            scenes = list(pool.map(draw, range(count), chunksize=64))
    images = torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2)
    return images, torch.arange(count) % len(CLASS_NAMES)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 images (B, 3, H, W) into the network's input, float32 of the same shape."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def top1_accuracy(network: TinyVGG, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of uint8 images (B, 3, H, W) to which the network gives their own label."""
    network.eval()
    with torch.inference_mode():
        hits = [
            (network(normalise(batch)).argmax(1) == truth).sum().item()
            for batch, truth in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True)
        ]
    return sum(hits) / len(labels)


def fit(images: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> TinyVGG:
    """Train a new network with AdamW, a one-cycle learning rate and mirrored or transposed batches.

    Parameters
    ----------
    images
        uint8 (N, 3, INPUT_SIZE, INPUT_SIZE).
    labels
        int64 (N,).
    epochs
        Passes over the images.
    seed
        Of the initial weights and the order of the batches.

    Returns
    -------
    TinyVGG
        The trained network.
    """
    torch.manual_seed(seed)
    network = tiny_vgg(num_classes=len(CLASS_NAMES)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.02)
    batches = len(labels) // BATCH_SIZE
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LEARNING_RATE, epochs * batches)
    for epoch in range(epochs):
        network.train()
        started, total_loss = time.perf_counter(), 0.0
        for chosen in torch.randperm(len(labels))[: batches * BATCH_SIZE].view(batches, BATCH_SIZE):
            batch = normalise(images[chosen])
            # One of the eight symmetries of the square: a turned or mirrored object keeps its class.
            mirrored_down, mirrored_across, transposed = torch.rand(3) < 0.5
            mirrored_axes = [axis for axis, used in ((2, mirrored_down), (3, mirrored_across)) if used]
            batch = batch.flip(mirrored_axes)
            if transposed:
                batch = batch.transpose(2, 3)
            loss = functional.cross_entropy(
                network(batch.contiguous(memory_format=torch.channels_last)), labels[chosen]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total_loss += loss.item()
        seconds = time.perf_counter() - started
        print(f"epoch {epoch + 1}/{epochs}: loss {total_loss / batches:.3f}, {seconds:.0f} s", flush=True)
    return network


def save(network: TinyVGG, output: Path) -> None:
    """Write weights with all that is needed to use them, and `classes.txt` beside them.

    Parameters
    ----------
    network
        The trained network.
    output
        Safetensors file. Its metadata hold JSON under `class_names`, `input_size`, `mean` and `std`,
        and the name of the architecture under `architecture`.
    """
    metadata = {
        "architecture": "tiny_vgg",
        "class_names": json.dumps(CLASS_NAMES),
        "input_size": json.dumps(INPUT_SIZE),
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
    }
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, output, metadata)
    output.with_name("classes.txt").write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")


def train(
    *,
    output: Path = Path("demo/classifier.safetensors"),
    scenes: int = 8000,
    epochs: int = 10,
    held_out: int = 800,
    seed: int = 0,
    workers: int = 2,
) -> None:
    """Draw scenes, train the network on them, measure it on scenes it has not seen, and write the weights.

    Parameters
    ----------
    output
        Safetensors file to write.
    scenes
        Number of scenes to train on.
    epochs
        Passes over these scenes.
    held_out
        Number of further scenes that the printed accuracy is measured on.
    seed
        Of everything that is left to chance.
    workers
        Processes to draw with, then threads to train with; the trained weights depend on them in the last digits.

    Raises
    ------
    ValueError
        If the seed is that of the held-out scenes.
    """
    if seed == HELD_OUT_SEED:
        raise ValueError(f"seed {seed} draws the held-out scenes; choose another seed.")
    torch.set_num_threads(workers)
    started = time.perf_counter()
    images, labels = draw_batch(scenes, seed, workers)
    test_images, test_labels = draw_batch(held_out, HELD_OUT_SEED, workers)
    print(f"drew {scenes + held_out} scenes in {time.perf_counter() - started:.0f} s", flush=True)
    network = fit(images, labels, epochs, seed)
    print(f"top-1 on {held_out} held-out scenes: {top1_accuracy(network, test_images, test_labels):.3f}")
    save(network, output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB); {time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    cyclopts.run(train)
