"""Multi-context saliency, taught with every other image of a data set and tried on the others.

``python -m benchmarks.studies.multi_context --root ECSSD --weights FILE --work FOLDER [--halves 0 1]``

One process without Ray, for machines on which minutes count: the training job's own module and data, under Lightning's
loop. Everything is kept below FOLDER (the images as they were decoded, a checkpoint every epoch, what the first stage
says), so that a study can be cut off at any time and goes on. ``--minutes`` ends it by itself. What the job makes of
the same settings differs by the order of the images.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import safetensors.torch
import torch

from benchmarks.speed.timing import hardware
from jobs.multi_context.images import MaskedImages, most_superpixels, superpixel_columns
from jobs.multi_context.module import FirstStage, WindowTask, WindowTraining
from jobs.multi_context.settings import MultiContextSettings
from jobs.multi_context.stages import new_network
from jobs.training.loading import Masks, decoder
from saliency_core import load_classifier, place
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.masks import decode_mask
from saliency_core.imaging.resizing import resize_longest_side, squash
from saliency_core.methods.multi_context import first_stage, multi_context
from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.methods.registry import METHODS, MULTI_CONTEXT
from saliency_core.methods.window_network import (
    ContextNetworks,
    MultiContext,
    load_multi_context,
    multi_context_weights,
)
from saliency_core.methods.windows import image_side
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.weights import read_weights
from saliency_core.parameters import SaliencyParameters, SuperpixelParameters
from saliency_core.refining.stages import describe_superpixels, maps_of_superpixels
from saliency_core.scoring.data_set import DataSetFigures, DataSetScores
from saliency_core.scoring.histograms import map_histograms
from saliency_core.superpixels.regions import Regions

Rows = dict[str, np.ndarray]
ENDED = 3
"""Exit code where time was up: the same command goes on."""


class TimeIsUp(pl.Callback):
    """Stops training behind the epoch after which the time is up."""

    def __init__(self, until: float) -> None:
        self.until = until

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """End the process at once: the last epoch's checkpoint is there."""
        if time.time() > self.until:
            raise SystemExit(ENDED)


class Batches:
    """Batches of rows, in a new order every time."""

    def __init__(self, rows: Rows, size: int, seed: int | None) -> None:
        self.rows, self.size, self.seed, self.epoch = rows, size, seed, 0

    def __len__(self) -> int:
        return (
            len(self.rows["index"]) // self.size if self.seed is not None else -(-len(self.rows["index"]) // self.size)
        )

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        count = len(self.rows["index"])
        order = np.arange(count)
        if self.seed is not None:
            order = np.random.default_rng((self.seed, self.epoch)).permutation(count)
            self.epoch += 1
        for number in range(len(self)):
            chosen = np.sort(order[number * self.size : (number + 1) * self.size])
            yield {name: torch.from_numpy(values[chosen]) for name, values in self.rows.items()}


def decoded(images: MaskedImages, side: int, settings: MultiContextSettings, file: Path) -> Rows:
    """Decode images with their superpixels, or read what was decoded before."""
    if not file.exists():
        columns = partial(superpixel_columns, SuperpixelParameters(settings.segments))
        decode = decoder(side, settings.max_pixels, Masks(images.mask_uris, "binary", columns))
        rows = decode(
            {
                "index": np.arange(len(images)),
                "uri": np.array(images.uris, object),
                "mask_uri": np.array(images.mask_uris, object),
            }
        )
        kept: dict[str, Any] = {name: values for name, values in rows.items() if name not in ("status", "error")}
        np.savez(file, **kept)
    with np.load(file) as found:
        return dict(found)


def trained(
    classifier: Classifier,
    stage: str,
    rows: dict[str, Rows],
    said: FirstStage | None,
    settings: MultiContextSettings,
    folder: Path,
    until: float,
) -> WindowTraining:
    """Train one of the networks, from its last checkpoint where there is one."""
    loaders: list[Any] = [
        Batches(rows["train"], settings.batch_size, settings.seed),
        Batches(rows["validation"], settings.batch_size, None),
    ]
    task = WindowTask(settings=settings, preprocessing=classifier.preprocessing, steps_per_epoch=len(loaders[0]))
    module = WindowTraining(new_network(classifier, stage, settings.seed, settings.head_width), task, said)
    best = pl.callbacks.ModelCheckpoint(
        folder / stage, "best", monitor="validation_loss", save_last=True, save_on_train_epoch_end=True
    )
    last = folder / stage / "last.ckpt"
    if last.exists():
        known = torch.load(last, map_location="cpu", weights_only=True)
        loaders[0].epoch = known["epoch"] + 1
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=settings.epochs,
        callbacks=[best, TimeIsUp(until)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    start = last if last.exists() else None
    trainer.fit(module, loaders[0], loaders[1], ckpt_path=start, weights_only=True)
    (folder / f"{stage}.json").write_text(json.dumps(module.history, indent=1) + "\n")
    for row in module.history:
        print(stage, {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
    path = next((folder / stage).glob("best*.ckpt"))
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    return module


def said_by(module: WindowTraining, classifier: Classifier, rows: dict[str, Rows], most: int, file: Path) -> FirstStage:
    """Ask the first network about every superpixel of all images, or read what it said."""
    if not file.exists():
        preprocessing = classifier.preprocessing
        own = Classifier.from_module(module.network, preprocessing.mean, preprocessing.std, preprocessing.input_size)
        own = place(own, "cpu")
        found = {part: np.zeros((len(of["index"]), most), np.uint8) for part, of in rows.items()}
        for part, of in rows.items():
            for row in np.flatnonzero(of["counts"]):
                count = int((of["shares"][row] >= 0).sum())
                regions = Regions(of["centres"][row][:count], of["cells"][row].astype(np.uint16))
                with torch.inference_mode():
                    image = normalised(own, pixels_of_images(own, of["image"][row][None], of["image"].shape[1]))
                    found[part][row, :count] = np.rint(255 * first_stage(own, image, regions))
        np.savez(file, **found)  # type: ignore[arg-type]
    with np.load(file) as read:
        return dict(read)


def taught(images: MaskedImages, settings: MultiContextSettings, folder: Path, until: float) -> MultiContext:
    """Teach both networks with images; a part of these is held out to choose the epochs."""
    folder.mkdir(parents=True, exist_ok=True)
    classifier = load_classifier(settings.model, settings.weights, input_size=settings.input_size)
    file = folder / "model.safetensors"
    if not file.exists():
        order = np.random.default_rng(settings.seed).permutation(len(images))
        held_out = round(settings.validation_share * len(images))
        side = image_side(classifier.preprocessing.input_size)
        rows = {
            part: decoded(images.chosen(np.sort(chosen)), side, settings, folder / f"{part}-{side}.npz")
            for part, chosen in (("train", order[held_out:]), ("validation", order[:held_out]))
        }
        first = trained(classifier, "global", rows, None, settings, folder, until)
        said = said_by(first, classifier, rows, most_superpixels(settings.segments), folder / "said.npz")
        second = trained(classifier, "local", rows, said, settings, folder, until)
        networks = ContextNetworks(first.network, second.network).eval().requires_grad_(False)
        weights = multi_context_weights(settings.model, classifier.preprocessing, networks)
        safetensors.torch.save_file(
            {key: value.contiguous() for key, value in weights.tensors.items()}, file, dict(weights.metadata)
        )
    return load_multi_context(settings.model, read_weights(file))


def scores(classifier: MultiContext, images: MaskedImages, folder: Path, until: float) -> dict[str, DataSetFigures]:
    """Score the maps of all stages on images that taught nothing; what was scored before is read."""
    parameters = SaliencyParameters()
    without = dataclasses.replace(parameters, views=dataclasses.replace(parameters.views, depths=False))
    placed = place(classifier, "cpu")
    side = image_side(classifier.preprocessing.input_size)
    folder.mkdir(exist_ok=True)
    sums: dict[str, DataSetScores] = {}
    for uri, mask_uri in zip(images.uris, images.mask_uris, strict=True):
        file = folder / f"{Path(uri).stem}.npz"
        working = resize_longest_side(decode_image(Path(uri).read_bytes()).pixels)
        if not file.exists():
            if time.time() > until:
                raise SystemExit(ENDED)
            superpixels = describe_superpixels(working, parameters)
            found = multi_context(placed, squash(working, side)[None], [Regions.of(superpixels.labels)], True).image(0)
            stages = METHODS[MULTI_CONTEXT].stages
            maps = maps_of_superpixels(found.raw, superpixels, parameters, found.features, stages)
            plain = maps_of_superpixels(found.raw, superpixels, without, (), stages)
            levels = {name: np.rint(255 * map_).astype(np.uint8) for name, map_ in maps.items()}
            levels["objects, colours alone"] = np.rint(255 * plain["objects"]).astype(np.uint8)
            np.savez_compressed(file, **levels)  # type: ignore[arg-type]
        mask = decode_mask(Path(mask_uri).read_bytes(), format="binary")
        with np.load(file) as stored:
            for name in stored.files:
                inside, outside = map_histograms(stored[name], mask.foreground, mask.valid)
                sums.setdefault(name, DataSetScores()).add(inside[None], outside[None])
    return {name: own.figures() for name, own in sums.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="ECSSD, or another data set in its layout")
    parser.add_argument("--model", default="squeezenet1_1")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--halves", nargs="+", type=int, default=[0, 1], help="halves to teach with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--head-learning-rate", type=float, default=1e-3)
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--limit", type=int, help="images to try at most, spread over the other half")
    options = parser.parse_args()
    torch.set_num_threads(1)
    until = time.time() + 60 * options.minutes
    names = sorted(path.stem for path in (options.root / "images").glob("*.jpg"))
    pairs = [
        (str(options.root / "images" / f"{name}.jpg"), str(options.root / "ground_truth_mask" / f"{name}.png"))
        for name in names
    ]
    halves = [MaskedImages(*(list(column) for column in zip(*pairs[half::2], strict=True))) for half in (0, 1)]
    chosen = ("model", "weights", "input_size", "windows", "epochs", "batch_size", "learning_rate", "seed")
    settings = MultiContextSettings(
        images=str(options.root),
        output=str(options.work),
        validation_share=0.2,
        head_learning_rate=options.head_learning_rate,
        **{name: getattr(options, name) for name in chosen},
    )
    print(json.dumps(hardware()["processor"]), settings, flush=True)
    for half in options.halves:
        folder = options.work / f"half-{half}-seed-{options.seed}"
        classifier = taught(halves[half], settings, folder, until)
        other = halves[1 - half]
        step = 1 if options.limit is None else max(len(other) // options.limit, 1)
        others = other.chosen(np.arange(len(other))[::step][: options.limit])
        print(f"taught with half {half}, tried on {len(others)} images of the other")
        for stage, found in scores(classifier, others, folder / "maps", until).items():
            print(
                f"  {stage:24s} A {found.f_beta_of_mean_curve:.3f}  B {found.f_beta_max_of_mean:.3f}  "
                f"C {found.f_beta_mean_of_max:.3f}  MAE {found.mae:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
