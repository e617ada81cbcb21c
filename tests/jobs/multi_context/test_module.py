"""Windows in training, without Ray: which are drawn, their labels, their mirror images, and what counts."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jobs.multi_context.asking import _histograms
from jobs.multi_context.images import superpixel_columns
from jobs.multi_context.module import WindowTask, WindowTraining, drawn_windows
from jobs.multi_context.settings import MultiContextSettings
from saliency_core import load_classifier
from saliency_core.methods.window_network import WindowNetwork, new_window_network
from saliency_core.methods.windows import global_canvas, image_side, local_canvas, map_canvas
from saliency_core.parameters import SuperpixelParameters
from saliency_core.superpixels.regions import CELLS, Regions
from saliency_core.superpixels.statistics import slic_superpixels
from tests.support.lightning_runs import Batches, check_going_on

SIZE, COUNT, MOST = 64, 3, 41
SETTINGS = MultiContextSettings(images="x", masks="z", output="y", windows=8, segments=20, augmentation="none")


def module(with_map: bool = False, **given: Any) -> WindowTraining:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=SIZE)
    network = new_window_network(classifier, with_map, seed=2)
    task = WindowTask(
        settings=dataclasses.replace(SETTINGS, **given), preprocessing=classifier.preprocessing, steps_per_epoch=1
    )
    said = np.random.default_rng(5).integers(0, 256, (COUNT, MOST), dtype=np.uint8)
    return WindowTraining(network.eval(), task, {"train": said, "validation": said} if with_map else None)


def batch(counts: list[bool] | None = None, seed: int = 1) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    side = image_side(SIZE)
    shares = np.full((COUNT, MOST), -1, np.float32)
    shares[:, :20] = generator.uniform(0, 1, (COUNT, 20))
    values = {
        "index": np.arange(COUNT),
        "image": generator.integers(0, 256, (COUNT, side, side, 3), dtype=np.uint8),
        "centres": generator.uniform(0, 1, (COUNT, MOST, 2)).astype(np.float32),
        "shares": shares,
        "cells": generator.integers(0, 20, (COUNT, CELLS, CELLS)).astype(np.int16),
        "counts": np.array(counts or [True] * COUNT),
    }
    return {name: torch.from_numpy(value) for name, value in values.items()}


def test_a_quarter_of_the_windows_is_salient_and_none_is_drawn_twice_where_there_are_enough() -> None:
    shares = torch.full((4, 60), -1.0)
    shares[0, :40] = 0.0
    shares[0, 30:40] = 0.5
    shares[1, :6] = 1.0  # salient all over
    shares[2, :5] = 0.49  # nothing salient
    shares[3, :40] = 1.0
    counts = torch.tensor([True, True, True, False])
    which, chosen = drawn_windows(shares, counts, 16, 0.25, torch.Generator().manual_seed(0))
    assert torch.bincount(which).tolist() == [16, 16, 16]
    of_first = chosen[which == 0]
    assert int((shares[0, of_first] >= 0.5).sum()) == 4
    assert len(of_first.unique()) == 16
    assert set(chosen[which == 1].tolist()) == set(range(6))
    assert set(chosen[which == 2].tolist()) == set(range(5))
    again = drawn_windows(shares, counts, 16, 0.25, torch.Generator().manual_seed(1))[1]
    assert not torch.equal(again, chosen)
    assert [len(part) for part in drawn_windows(shares, counts & False, 16, 0.25)] == [0, 0]


@pytest.mark.parametrize("with_map", [False, True])
def test_the_loss_is_the_cross_entropy_of_windows_labelled_by_the_mask(with_map: bool) -> None:
    trained, given = module(with_map), batch()
    which, chosen = drawn_windows(given["shares"], given["counts"], 8, 0.25, torch.Generator().manual_seed(7))
    total = 0.0
    images = trained.normalised(given["image"].permute(0, 3, 1, 2))
    assert isinstance(trained.network, WindowNetwork)
    with torch.no_grad():
        for image, superpixel in zip(which.tolist(), chosen.tolist(), strict=True):
            one, centre = torch.tensor([image]), given["centres"][image, superpixel][None]
            maps = None
            if trained.first is None:
                window = global_canvas(images, SIZE).cut(one, centre)
            else:
                window = local_canvas(images, SIZE).cut(one, centre)
                said = torch.from_numpy(trained.first["train"][image].astype(np.float32) / 255)
                maps = map_canvas(said[given["cells"].long()][:, None]).cut(one, centre)[:, 0]
            logits = trained.network(window, maps)[0].double()
            label = int(given["shares"][image, superpixel] >= 0.5)
            total += float(torch.logsumexp(logits, 0) - logits[label])
    nothing = torch.zeros(COUNT, dtype=torch.bool)
    found = trained._step("train", given, nothing, torch.Generator().manual_seed(7))
    assert found.item() == pytest.approx(total / len(which), rel=1e-4)
    figures = trained.counts_of("train").take()
    assert (figures["read"], figures["unread"]) == (3, 0)
    assert 0 <= figures["error"] <= 1
    # Mirrored images with mirrored centres and cells are the same windows once more.
    mirrored = given | {
        "image": given["image"].flip(2),
        "cells": given["cells"].flip(2),
        "centres": torch.stack([given["centres"][..., 0], 1 - given["centres"][..., 1]], dim=-1),
    }
    again = trained._step("train", mirrored, ~nothing, torch.Generator().manual_seed(7))
    assert again.item() == pytest.approx(found.item(), abs=0.02)


def test_images_that_could_not_be_read_count_for_nothing() -> None:
    trained = module()
    part = batch([True, False, True])
    trained.validation_step(part, 0)
    found = trained.counts_of("validation").take()
    assert (found["read"], found["unread"]) == (2, 1)
    trained.validation_step(part, 0)
    assert trained.counts_of("validation").take()["loss"] == found["loss"]
    nothing = trained.training_step(batch([False, False, False]), 0)
    nothing.backward()
    assert nothing.item() == 0


def test_all_that_is_run_learns_and_the_new_layers_faster() -> None:
    trained = module()
    trained.training_step(batch(), 0).backward()
    new, below = trained.rate_groups()
    assert (new["lr"], below["lr"]) == (SETTINGS.head_learning_rate, SETTINGS.learning_rate)
    assert all(values.grad is not None for values in (*new["params"], *below["params"]))
    count = sum(values.requires_grad for values in trained.network.parameters())
    assert len(new["params"]) + len(below["params"]) == count


@pytest.mark.parametrize("with_map", [False, True])
def test_a_stage_that_goes_on_from_any_checkpoint_ends_as_if_it_had_not_stopped(with_map: bool, tmp_path: Path) -> None:
    def make() -> WindowTraining:
        trained = module(with_map, epochs=3, warmup_epochs=0, patience=0, augmentation="mirror")
        return trained.train()

    check_going_on(make, Batches(batch(seed=2), batch(seed=3)), Batches(batch(seed=4)), tmp_path)


def test_columns_of_an_image_say_how_much_of_each_superpixel_is_foreground() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    foreground, valid = np.zeros((40, 60), bool), np.ones((40, 60), bool)
    foreground[10:30, 20:50] = True
    valid[:, :10] = False
    image = {"map_height": 40, "map_width": 60, "pixels": pixels.tobytes()}
    mask = {"mask_foreground": np.packbits(foreground).tobytes(), "mask_valid": np.packbits(valid).tobytes()}
    parameters = SuperpixelParameters(segments=20)
    found = superpixel_columns(parameters, (image, mask))
    labels = slic_superpixels(pixels, 20)
    count = labels.max() + 1
    for label in range(count):
        inside = foreground[(labels == label) & valid]
        assert found["areas"][label] == inside.size
        assert found["shares"][label] == pytest.approx(inside.mean() if inside.size else 0)
    assert (found["shares"][count:] == -1).all()
    np.testing.assert_array_equal(found["centres"][:count], Regions.of(labels).centres)
    nothing = superpixel_columns(parameters, None)
    assert {name: value.shape for name, value in nothing.items()} == {n: v.shape for n, v in found.items()}
    assert (nothing["shares"] == -1).all()


def test_histograms_of_superpixels_are_those_of_their_pixels() -> None:
    inside, outside = _histograms(np.array([7, 200, 7], np.uint8), np.array([10.0, 4, 6]), np.array([0.5, 1, 0]))
    assert (inside[0, 7], inside[0, 200], inside.sum()) == (5, 4, 9)
    assert (outside[0, 7], outside[0, 200], outside.sum()) == (11, 0, 11)
