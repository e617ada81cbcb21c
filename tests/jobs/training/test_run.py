"""The frame of every training run, without Ray or training: what is begun, left, refused, and not done again."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from jobs.errors import SettingsError, TrainingError
from jobs.multi_context.plan import MultiContextPlan, make_plan
from jobs.multi_context.settings import MultiContextSettings
from jobs.pipeline import connecting
from jobs.planning.cluster import Cluster
from jobs.training import run as frame
from jobs.training.run import Result, run_plan
from saliency_core.networks.weights import Weights, read_weights, weights_checksum
from tests.support.tiny_set import write_tiny_set

CLUSTER = Cluster(address=None, slots=4, gpus=0)
ROW = {name: 0.25 for part in ("train", "validation") for name in (f"{part}_loss", f"{part}_error")}
HISTORY = [
    {"stage": stage, "epoch": 1, "seconds": 1.5, "train_unread": 0, "validation_unread": 0, **ROW}
    for stage in ("global", "local")
]
WEIGHTS = Weights({"layer": torch.arange(6.0)}, {"architecture": "squeezenet1_1"})


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "start", lambda _: None)
    monkeypatch.setattr(frame, "configure", lambda _: None)


@pytest.fixture
def settings(tmp_path: Path) -> MultiContextSettings:
    images, masks = write_tiny_set(tmp_path, 5)
    folders: dict[str, Any] = {"images": str(images), "masks": str(masks), "output": str(tmp_path / "run")}
    return MultiContextSettings(**folders, model="squeezenet1_1", weights="random", input_size=64)


class Teacher:
    """Says how often it was asked, and what lay in the output then."""

    def __init__(self) -> None:
        self.seen: list[set[str]] = []

    def __call__(self, plan: MultiContextPlan) -> Result:
        self.seen.append({path.name for path in Path(plan.settings.output).iterdir()})
        best = dict(zip(("global", "local"), HISTORY, strict=True))
        record = {"epochs": 2, "best_epochs": {"global": 1, "local": 1}, "scores": None}
        return Result(WEIGHTS, HISTORY, [], record, {"best": best}, {"own.txt": b"own"})


def test_a_run_leaves_model_card_history_and_record_and_is_not_done_again(
    settings: MultiContextSettings, tmp_path: Path
) -> None:
    teacher, output = Teacher(), tmp_path / "run"
    plan = make_plan(settings, CLUSTER)
    record = run_plan(plan, make_plan, teacher)
    assert teacher.seen == [{"_run.json", "_claim.json"}]
    names = ("model.safetensors", "model-card.md", "metrics.parquet", "own.txt", "_run.json", "_SUCCESS")
    assert {path.name for path in output.iterdir()} == set(names)
    stored = json.loads((output / "_run.json").read_text())
    assert record.items() <= stored.items()
    assert (stored["job"], stored["state"], stored["model"]) == ("train-multi-context", "finished", "squeezenet1_1")
    assert stored["seconds"] == 3.0
    assert stored["images_sha256"] == plan.images.sha256
    assert stored["weights_sha256"] == weights_checksum(read_weights(output / "model.safetensors").tensors)
    assert pq.read_table(output / "metrics.parquet").to_pylist() == HISTORY
    card = (output / "model-card.md").read_text()
    for part in ("squeezenet1_1", "| windows | 16 |", stored["weights_sha256"], "4 images of"):
        assert part in card, part
    again = make_plan(settings, CLUSTER)
    assert again.output_state == "finished"
    assert run_plan(again, make_plan, teacher) == stored
    # Nor is it by one who planned before the other had finished.
    assert run_plan(plan, make_plan, teacher) == stored
    assert len(teacher.seen) == 1


def test_a_run_that_failed_goes_on_and_keeps_when_it_began(settings: MultiContextSettings, tmp_path: Path) -> None:
    def fail(plan: Any) -> Result:
        raise TrainingError("the power is gone")

    with pytest.raises(TrainingError):
        run_plan(make_plan(settings, CLUSTER), make_plan, fail)
    file = tmp_path / "run" / "_run.json"
    begun = json.loads(file.read_text())
    assert begun["state"] == "running"
    file.write_text(json.dumps(begun | {"started": "long ago"}))
    left = tmp_path / "run" / "_training" / "checkpoint"
    left.parent.mkdir()
    left.touch()
    teacher = Teacher()
    plan = make_plan(settings, CLUSTER)
    assert plan.output_state == "unfinished"
    assert run_plan(plan, make_plan, teacher)["started"] == "long ago"
    assert "_training" in teacher.seen[0]
    assert not left.parent.exists()


def test_other_settings_are_refused_and_overwrite_removes_the_run_and_nothing_else(
    settings: MultiContextSettings, tmp_path: Path
) -> None:
    run_plan(make_plan(settings, CLUSTER), make_plan, Teacher())
    other = dataclasses.replace(settings, windows=8)
    with pytest.raises(SettingsError, match=r"a finished run with other settings: windows \(16 there, 8 here\)"):
        make_plan(other, CLUSTER)
    (tmp_path / "images" / "image 000.png").rename(tmp_path / "images" / "image 007.png")
    (tmp_path / "masks" / "image 000.png").rename(tmp_path / "masks" / "image 007.png")
    with pytest.raises(SettingsError, match="other settings: the images and their masks"):
        make_plan(settings, CLUSTER)
    (tmp_path / "run" / "of somebody else.txt").touch()
    teacher = Teacher()
    run_plan(make_plan(dataclasses.replace(other, overwrite=True), CLUSTER), make_plan, teacher)
    assert teacher.seen == [{"_run.json", "_claim.json", "of somebody else.txt", "own.txt"}]
    with pytest.raises(SettingsError, match="5 workers have 4 training images"):
        make_plan(dataclasses.replace(settings, output=f"{tmp_path}/new", workers=5, batch_size=5), Cluster(None, 9, 0))
