"""The distillation job on drawn scenes with the demonstration's network, and its rounds without training."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import torch
from PIL import Image

from demo.drawing import draw_indexed_scene
from jobs import distil
from jobs.distillation import rounds
from jobs.distillation.module import Distilling, read_depths
from jobs.distillation.plan import make_plan
from jobs.distillation.settings import DistilSettings
from jobs.errors import TrainingError
from jobs.pipeline.connecting import start_ray
from jobs.planning.cluster import Cluster
from jobs.training.fit import Trained
from saliency_core.imaging.resizing import resize_map, squash
from saliency_core.methods.student import read_map, student_map
from saliency_core.networks.saliency_head import load_student
from saliency_core.networks.weights import read_weights, weights_checksum
from saliency_core.scoring.histograms import to_8bit
from tests.support.made_runs import MadeRow, make_run, write_picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NETWORK = "demo.tiny_vgg:TinyVGG"
CLASSIFIER = Path(__file__).parents[2] / "demo" / "classifier.safetensors"
COUNT = 30


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    start_ray(address="local", num_cpus=4, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose maps are good guesses at the objects: their masks, coarse; one image cannot be read."""
    folder = tmp_path_factory.mktemp("teacher")
    rows = []
    for index in range(COUNT):
        scene = draw_indexed_scene(index, 5)
        uri = write_picture(folder / "images" / f"{index}.png", scene.image)
        mask = write_picture(folder / "masks" / f"{index}.png", scene.mask)
        coarse = resize_map(resize_map(scene.mask.astype(np.float32), 9, 9), *scene.mask.shape)
        levels = to_8bit(coarse)
        columns = {"mask_uri": mask, "label_probability": 0.9, "logit_before": 8.0, "logit_after": 2.0}
        rows.append(MadeRow(uri, {"raw": levels, "refined": levels}, scene.mask, columns))
    (folder / "images" / "3.png").write_bytes(b"no image any more")
    return make_run(folder / "run", rows, rows_per_file=6)


def arguments(teacher: str, output: Path) -> list[str]:
    return [
        *("--run", teacher, "--model", NETWORK, "--weights", str(CLASSIFIER), "--output", str(output)),
        *("--epochs", "8", "--warmup-epochs", "0", "--batch-size", "4", "--learning-rate", "0.01", "--slots", "4"),
        *("--validation-share", "0.2"),
    ]


@pytest.fixture(scope="module")
def finished(teacher: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("student") / "run"
    assert distil.main([*arguments(teacher, output), "--rounds", "1"]) == 0
    return output


def test_it_learns_and_leaves_all_that_belongs_to_a_network(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *("model.safetensors", "model-card.md", "metrics.parquet", "plots", "_run.json", "_SUCCESS"),
    }
    history = pq.read_table(finished / "metrics.parquet").to_pylist()
    assert [(row["round"], row["epoch"]) for row in history] == [(1, epoch) for epoch in range(1, 9)]
    assert history[-1]["validation_difference"] < 0.7 * history[0]["validation_difference"]
    record = json.loads((finished / "_run.json").read_text())
    assert record["images"] == {"train": 24, "validation": 6}
    assert sum(row["train_unread"] + row["validation_unread"] for row in history) == len(history)
    assert record["scores"]["student"]["images"] == record["scores"]["teacher"]["images"] == 6
    assert record["scores"]["student"]["f_beta_of_mean_curve"] > 0.5
    card = (finished / "model-card.md").read_text()
    for part in ("| student, without the graph | 0.", "| 1 | 8 | ", "| rounds | 1 |", "lightning"):
        assert part in card, part


def test_the_saved_student_sees_objects_in_scenes_that_it_has_not_seen(finished: Path) -> None:
    weights = read_weights(finished / "model.safetensors")
    student = load_student(NETWORK, weights)
    assert json.loads((finished / "_run.json").read_text())["weights_sha256"] == weights_checksum(weights.tensors)
    inside, outside = [], []
    for index in range(8):
        scene = draw_indexed_scene(index, 6)
        side = student.preprocessing.input_size
        image = squash(scene.image, side)
        map_ = resize_map(student_map(student, image[None]).raw[0], *scene.mask.shape)
        inside.append(map_[scene.mask].mean())
        outside.append(map_[~scene.mask].mean())
    assert np.mean(inside) > 2 * np.mean(outside)


def test_the_second_round_is_taught_by_what_held_out_heads_saw_and_no_round_is_done_twice(
    teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DistilSettings(
        run=teacher, output=str(tmp_path), model=NETWORK, weights=str(CLASSIFIER), validation_share=0.2, slots=4
    )
    plan = make_plan(settings, Cluster(address=None, slots=4, gpus=0))
    asked: list[Distilling] = []

    def fit(plan: Any, make: Any, sets: Any, on_epoch: Any, folder: str) -> Trained:
        """Teach nothing: the heads stay as they were made."""
        module: Distilling = make()
        asked.append(module)
        if len(module.heads) == 1 and len(asked) == 2:
            raise TrainingError("the power is gone")
        return Trained(module.state_dict(), [{"epoch": 1}], 1, False)

    monkeypatch.setattr(rounds, "fit", fit)
    with pytest.raises(TrainingError):
        rounds.teach(plan, lambda row: None)
    taught = rounds.teach(plan, lambda row: None)
    assert [len(module.heads) for module in asked] == [2, 1, 1]
    assert [row["round"] for row in taught.history] == [1, 2]
    first, second = asked[0], asked[2]
    side = plan.classifier.preprocessing.input_size
    uris = {part: table["uri"].to_pylist() for part, table in taught.parts.items()}
    assert len(uris["train"]) == 24
    assert not set(uris["train"]) & set(uris["validation"])
    for part, lessons in first.lessons.items():
        for place in range(4):
            if uris[part][place].endswith("/3.png"):  # cannot be read: nobody saw it
                continue
            image = squash(np.asarray(Image.open(uris[part][place]).convert("RGB")), side)
            depths = read_depths(plan.classifier, first.normalised(torch.from_numpy(image[None]).permute(0, 3, 1, 2)))
            with torch.no_grad():
                maps = [read_map(head, depths).sigmoid()[0].numpy() for head in first.heads]
            seen = maps[lessons.folds[place]] if part == "train" else np.mean(maps, axis=0)
            expected = 0.5 * lessons.targets[place] + 0.5 * 255 * seen
            np.testing.assert_allclose(second.lessons[part].targets[place], expected, atol=1.1)


def test_a_finished_run_is_not_done_again_and_other_settings_are_refused(
    finished: Path, teacher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "model.safetensors").stat().st_mtime_ns
    command = [*arguments(teacher, finished), "--rounds", "1"]
    assert distil.main(command) == 0
    assert distil.main([*command, "--seed", "3"]) == 2
    assert "a finished run with other settings: seed (0 there, 3 here)" in capsys.readouterr().err
    assert (finished / "model.safetensors").stat().st_mtime_ns == before
