"""The network in training, without Ray: what each strategy moves, what counts, what a checkpoint brings back."""

import copy
import queue
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import ray.train
import torch
from torchvision.transforms import v2

from jobs.finetuning.module import ErrorCounts, FinetuneTask, FineTuning, augmentation
from jobs.finetuning.settings import FinetuneSettings
from jobs.training import worker
from jobs.training.module import mixed_seed
from saliency_core.networks.heads import classifier_with_classes, head_tensors
from tests.support import lightning_runs
from tests.support.lightning_runs import Batches, check_going_on

NAMES = ("a", "b", "c")
SIDE, BATCHES = 32, 3


def module(**given: Any) -> FineTuning:
    options: dict[str, Any] = {
        "output": "x",
        "images": "y",
        "model": "demo.tiny_vgg:TinyVGG",
        "epochs": 4,
        "patience": 0,
    } | given
    settings = FinetuneSettings(**options)
    classifier = classifier_with_classes("demo.tiny_vgg:TinyVGG", "random", class_names=NAMES, input_size=SIDE)
    task = FinetuneTask(settings, classifier.preprocessing, BATCHES, len(NAMES), head_tensors("demo.tiny_vgg:TinyVGG"))
    return FineTuning(classifier.network, task)


def batch(seed: int, *, unread: int = 0, padding: int = 0, side: int = SIDE) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (8,), generator=generator)
    images = torch.randint(0, 60, (8, side, side, 3), generator=generator, dtype=torch.uint8)
    images[torch.arange(8), :, :, labels] += 120
    index = torch.arange(8)
    counts = torch.arange(8) >= unread + padding
    index[:padding] = -1
    return {"image": images, "label": labels, "counts": counts, "index": index}


TRAIN = Batches(*(batch(seed, side=SIDE * 8 // 7) for seed in range(BATCHES)))
VALIDATION = Batches(batch(10), batch(11))


def fit(trained: FineTuning, folder: Path, epochs: int, callbacks: Sequence[pl.Callback] = ()) -> None:
    lightning_runs.fit(trained, folder, epochs, TRAIN, VALIDATION, None, callbacks)


@pytest.mark.parametrize("strategy", ["all", "head-faster", "head-only"])
def test_a_strategy_moves_the_layers_that_it_says_at_the_rates_that_it_says(strategy: str, tmp_path: Path) -> None:
    trained = module(strategy=strategy, learning_rate=0.002, head_learning_rate=0.02, warmup_epochs=0)
    before = copy.deepcopy(trained.network.state_dict())
    fit(trained, tmp_path, 1)
    moved = {key for key, value in trained.network.state_dict().items() if not torch.equal(value, before[key])}
    head = head_tensors("demo.tiny_vgg:TinyVGG")
    if strategy == "head-only":
        assert moved == head  # not even the statistics of batch normalisation
    else:
        # A bias before batch normalisation has no gradient, but weight decay.
        assert moved >= set(before) - {key for key in before if key.endswith("bias") and key not in head}
    rates = {"all": (0.002, 0.002), "head-faster": (0.002, 0.02), "head-only": (0.0, 0.02)}[strategy]
    assert (trained.history[0]["learning_rate"], trained.history[0]["head_learning_rate"]) == pytest.approx(rates)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.001, 0.004, 0.004, 0.004]),
        ("cosine", [0.001, 0.004, 0.003, 0.001]),
        ("step", [0.001, 0.004, 0.0004, 0.00004]),
    ],
)
def test_the_rates_rise_and_fall_as_the_schedule_says(schedule: str, rates: list[float], tmp_path: Path) -> None:
    trained = module(schedule=schedule, learning_rate=0.004, warmup_epochs=1)
    fit(trained, tmp_path, 4)
    assert [row["learning_rate"] for row in trained.history] == pytest.approx(rates, rel=1e-3)


def test_it_learns_and_counts_as_torchmetrics_does(tmp_path: Path) -> None:
    trained = module(epochs=10, learning_rate=0.01, warmup_epochs=0, augmentation="none")
    fit(trained, tmp_path, 10)
    first, last = trained.history[0], trained.history[-1]
    assert last["train_loss"] < 0.5 * first["train_loss"]
    assert last["validation_top1_error"] < 0.2
    trained.network.eval()
    wrong = loss = 0.0
    for images in VALIDATION:
        pixels = (images["image"].permute(0, 3, 1, 2) / 255 - trained.mean) / trained.std
        with torch.no_grad():
            logits = trained.network(pixels)
        wrong += float((logits.argmax(1) != images["label"]).sum()) / 16
        loss += float(torch.nn.functional.cross_entropy(logits, images["label"])) / 2
    assert last["validation_top1_error"] == pytest.approx(wrong, abs=1e-6)
    assert last["validation_loss"] == pytest.approx(loss, rel=1e-4)


def test_images_that_cannot_be_read_are_counted_and_teach_nothing() -> None:
    whole, damaged = module(augmentation="none"), module(augmentation="none")
    images = batch(0, unread=2, padding=1)
    kept = {key: value[3:] for key, value in images.items()}
    for network in (whole.network, damaged.network):
        network.eval()  # batch normalisation sees the whole batch
    images["image"][:3] = 255
    images["label"][:3] = 2
    expected, found = whole.training_step(kept, 0), damaged.training_step(images, 0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    counted = damaged.counts_of("train").take()
    assert (counted["read"], counted["unread"]) == (5, 2)
    nothing = damaged.training_step(batch(0, unread=8), 0)
    nothing.backward()
    assert nothing.item() == 0


def test_a_loss_that_is_no_number_is_not_passed_over() -> None:
    counts = ErrorCounts(3)
    for loss in (0.5, float("nan")):
        counts.update(torch.eye(3), torch.tensor([0, 1, 0]), torch.tensor(loss), 0)
    assert np.isnan(counts.take()["loss"])


def test_top5_of_fewer_classes_is_no_error() -> None:
    counts = ErrorCounts(3)
    counts.update(torch.eye(3), torch.tensor([0, 1, 0]), torch.tensor(0.5), 0)
    found = counts.take()
    assert found["top1_error"] == pytest.approx(1 / 3)
    assert found["top5_error"] == 0


def test_top5_error_counts_labels_behind_the_fifth() -> None:
    counts = ErrorCounts(10)
    logits = torch.arange(10.0).repeat(3, 1)
    counts.update(logits, torch.tensor([9, 5, 4]), torch.tensor(0.5), 0)
    found = counts.take()
    assert found["top1_error"] == pytest.approx(2 / 3)
    assert found["top5_error"] == pytest.approx(1 / 3)


def test_training_that_goes_on_from_any_checkpoint_ends_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    check_going_on(module, TRAIN, VALIDATION, tmp_path)


@pytest.mark.parametrize(("rate", "epochs"), [(1e-12, 3), (1e-2, 6)])
def test_it_stops_early_and_says_so_in_the_last_checkpoint(
    rate: float, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[bool] = []

    def report(metrics: dict[str, Any], checkpoint: ray.train.Checkpoint, checkpoint_dir_name: str) -> None:
        state = torch.load(Path(checkpoint.path) / worker.STATE, weights_only=True)
        assert [row["epoch"] for row in state["history"]] == list(range(1, metrics["epoch"] + 1))
        assert checkpoint_dir_name == f"epoch-{metrics['epoch']:04d}"
        ends.append(state["is_finished"])

    monkeypatch.setattr(ray.train, "report", report)
    shown: queue.Queue = queue.Queue()
    trained = module(strategy="head-only", head_learning_rate=rate, schedule="constant", epochs=6, warmup_epochs=0)
    callbacks = [pl.callbacks.EarlyStopping("validation_loss", patience=2, check_finite=False), worker.Report(shown)]
    fit(trained, tmp_path, 6, callbacks=callbacks)
    assert ends == [False] * (epochs - 1) + [True]
    assert [shown.get()["epoch"] for _ in range(epochs)] == list(range(1, epochs + 1))


@pytest.mark.parametrize("kind", ["photographs", "symmetries", "none"])
def test_augmentation_gives_the_networks_size_and_follows_the_seed(kind: str) -> None:
    side = SIDE * 8 // 7 if kind == "photographs" else SIDE
    vary: v2.Transform = augmentation(kind, SIDE)
    image = batch(0, side=side)["image"][0].permute(2, 0, 1)

    def varied(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([vary(image) for _ in range(12)])

    assert varied(1).shape == (12, 3, SIDE, SIDE)
    assert torch.equal(varied(1), varied(1))
    assert torch.equal(varied(1), varied(2)) == (kind == "none")


def test_symmetries_are_the_eight_of_the_square() -> None:
    torch.manual_seed(0)
    vary = augmentation("symmetries", 4)
    image = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)
    found = {tuple(vary(image).flatten().tolist()) for _ in range(200)}
    turned = [torch.rot90(flipped, turns, (1, 2)) for flipped in (image, image.flip(2)) for turns in range(4)]
    assert found == {tuple(one.flatten().tolist()) for one in turned}


def test_seeds_of_epochs_and_workers_differ() -> None:
    assert len({mixed_seed(*parts) for parts in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0)]}) == 5
