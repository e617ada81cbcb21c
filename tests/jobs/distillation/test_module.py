"""Heads in training, without Ray: what each is taught with, what counts, and how images are mirrored."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from jobs.distillation.module import HELD_OUT, Distilling, DistilTask, Lessons, blended, read_depths
from jobs.distillation.settings import DistilSettings
from saliency_core import load_classifier
from saliency_core.methods.student import new_head, read_map
from saliency_core.networks.classifier import Classifier

SIDE, COUNT = 96, 6
IMAGES = np.random.default_rng(1).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return load_classifier("squeezenet1_1", "random", num_classes=5, input_size=SIDE)


def module(classifier: Classifier, heads: int = 1) -> Distilling:
    settings = DistilSettings(run="x", output="y", augmentation="none")
    task = DistilTask(
        settings=settings, preprocessing=classifier.preprocessing, steps_per_epoch=1, heads=heads, round=1
    )
    head = new_head(classifier)
    targets = np.random.default_rng(0).integers(0, 256, (COUNT, head.grid, head.grid), dtype=np.uint8)
    weights = np.array([0.5, 1, 1.5, 2, 0.25, 0.75], np.float32)
    lessons = {
        "train": Lessons(targets, weights, np.array([0, 1, 0, 1, 0, 1])),
        "validation": Lessons(targets, weights, np.full(COUNT, HELD_OUT)),
    }
    return Distilling(classifier, head, lessons, task)


def batch(index: list[int], counts: list[bool] | None = None) -> dict[str, torch.Tensor]:
    images: NDArray[Any] = IMAGES[np.maximum(index, 0)]
    return {
        "image": torch.from_numpy(images),
        "index": torch.tensor(index),
        "counts": torch.tensor(counts or [True] * len(index)),
    }


def loss_by_hand(trained: Distilling, head: int, index: list[int]) -> float:
    images = torch.from_numpy(IMAGES[index]).permute(0, 3, 1, 2)
    with torch.no_grad():
        depths = read_depths(trained.classifier, trained.normalised(images))
        map_ = read_map(trained.heads[head], depths).double().sigmoid().numpy()
    lessons = trained.lessons["train"]
    target = lessons.targets[index] / 255
    each = -(target * np.log(map_) + (1 - target) * np.log(1 - map_)).reshape(len(index), -1).mean(axis=1)
    weights = lessons.weights[index]
    return float((weights * each).sum() / weights.sum())


def test_the_loss_is_the_weighted_cross_entropy_against_soft_maps(classifier: Classifier) -> None:
    trained = module(classifier)
    index = [4, 0, 3]
    assert trained.training_step(batch(index), 0).item() == pytest.approx(loss_by_hand(trained, 0, index), rel=1e-4)


def test_a_head_is_not_taught_with_its_own_part(classifier: Classifier) -> None:
    trained = module(classifier, heads=2)
    expected = (loss_by_hand(trained, 0, [1, 3, 5]) + loss_by_hand(trained, 1, [0, 2, 4])) / 2
    assert trained.training_step(batch([0, 1, 2, 3, 4, 5]), 0).item() == pytest.approx(expected, rel=1e-4)
    trained.training_step(batch([0, 2, 4]), 0).backward()
    first, second = (
        [bool(torch.any(p.grad)) for p in head.parameters() if p.grad is not None] for head in trained.heads
    )
    assert not any(first)
    assert all(second)


def test_held_out_images_count_for_all_heads_and_unread_ones_for_none(classifier: Classifier) -> None:
    trained = module(classifier, heads=2)
    trained.validation_step(batch([0, 1, 2, -1], [True, True, False, False]), 0)
    found = trained.counts_of("validation").take()
    assert (found["read"], found["unread"]) == (2, 1)
    trained.validation_step(batch([0, 1]), 0)
    expected = trained.counts_of("validation").take()
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["difference"] == pytest.approx(expected["difference"], rel=1e-5)
    nothing = trained.training_step(batch([0, -1], [False, False]), 0)
    nothing.backward()
    assert nothing.item() == 0


def test_mirrored_images_have_mirrored_targets(classifier: Classifier) -> None:
    trained = module(classifier)
    given = batch([0, 1])
    straight = trained._step("train", given, torch.zeros(2, dtype=torch.bool)).item()
    lessons = trained.lessons["train"]
    flipped = Lessons(np.ascontiguousarray(lessons.targets[:, :, ::-1]), lessons.weights, lessons.folds)
    trained.lessons = {"train": flipped}
    given["image"] = given["image"].flip(2)
    assert trained._step("train", given, torch.ones(2, dtype=torch.bool)).item() == pytest.approx(straight, rel=1e-5)
    assert trained._step("train", given, torch.zeros(2, dtype=torch.bool)).item() != pytest.approx(straight, rel=1e-5)


def test_the_networks_weights_are_no_part_of_a_checkpoint(classifier: Classifier) -> None:
    trained = module(classifier, heads=2)
    heads = [name for name in trained.state_dict() if not name.startswith("counts.")]
    assert all(name.startswith("heads.") for name in heads)
    (group,) = trained.rate_groups()
    assert len(group["params"]) == len(heads)
    assert not torch.equal(trained.state_dict()["heads.0.weights.0"], trained.state_dict()["heads.1.weights.0"])


def test_targets_of_further_rounds_are_blends() -> None:
    teacher, own = np.array([[0, 100, 255]], np.uint8), np.array([[200, 100, 0]], np.uint8)
    assert blended(teacher, own, 0.25).tolist() == [[50, 100, 191]]
