"""The job that trains multi-context saliency, from masks to a model that the saliency job uses, on drawn scenes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray

from demo.drawing import write_data_set
from jobs import train_multi_context
from jobs.errors import TrainingError
from jobs.multi_context import stages
from jobs.multi_context.plan import make_plan
from jobs.multi_context.settings import MultiContextSettings
from jobs.pipeline.connecting import start_ray
from jobs.planning.cluster import Cluster
from saliency_core.methods.window_network import load_multi_context
from saliency_core.networks.weights import read_weights, weights_checksum

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NETWORK = "demo.tiny_vgg:TinyVGG"
CLASSIFIER = Path(__file__).parents[2] / "demo" / "classifier.safetensors"
COUNT = 25


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    start_ray(address="local", num_cpus=4, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_data_set(folder, COUNT, 5)
    return folder


def arguments(scenes: Path, output: Path, epochs: int = 2) -> list[str]:
    return [
        *("--images", str(scenes / "images"), "--masks", str(scenes / "masks"), "--output", str(output)),
        *("--model", NETWORK, "--weights", str(CLASSIFIER), "--slots", "4", "--cpus-per-worker", "1"),
        *(
            "--epochs",
            str(epochs),
            "--warmup-epochs",
            "0",
            "--batch-size",
            "4",
            "--windows",
            "8",
            "--validation-share",
            "0.2",
        ),
        *("--learning-rate", "0.001", "--head-learning-rate", "0.002"),
    ]


@pytest.fixture(scope="module")
def finished(one_ray: None, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was cut off between its stages, and went on."""
    broken = next(iter(sorted((scenes / "masks").iterdir())))
    kept = broken.read_bytes()
    broken.write_bytes(b"no mask any more")
    output = tmp_path_factory.mktemp("model") / "run"
    trained = stages._trained
    asked: list[str] = []

    def cut_off(*given: Any) -> Any:
        asked.append("global" if given[-1] is None else "local")
        if asked == ["global", "local"]:
            raise TrainingError("the power is gone")
        return trained(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_trained", cut_off)
        assert train_multi_context.main(arguments(scenes, output)) == 1
        assert not (output / "_SUCCESS").exists()
        assert train_multi_context.main(arguments(scenes, output)) == 0
    assert asked == ["global", "local", "local"]
    broken.write_bytes(kept)
    return output


def test_it_learns_and_leaves_all_that_belongs_to_a_model(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *("model.safetensors", "model-card.md", "metrics.parquet", "plots", "_run.json", "_SUCCESS"),
    }
    history = pq.read_table(finished / "metrics.parquet").to_pylist()
    epochs = [(row["stage"], row["epoch"]) for row in history]
    assert epochs == [("global", 1), ("global", 2), ("local", 1), ("local", 2)]
    record = json.loads((finished / "_run.json").read_text())
    assert record["images"] == {"train": 20, "validation": 5}
    assert all(row["train_unread"] + row["validation_unread"] == 1 for row in history)
    assert all(row["train_read"] + row["validation_read"] == COUNT - 1 for row in history)
    for stage in ("global", "local"):
        first, last = [row["train_loss"] for row in history if row["stage"] == stage]
        assert last < first
    assert record["scores"]["multi_context"]["images"] >= 4
    weights = read_weights(finished / "model.safetensors")
    assert record["weights_sha256"] == weights_checksum(weights.tensors)
    networks: Any = load_multi_context(NETWORK, weights).network
    # The two stages taught different networks.
    first, second = (part.trunk.state_dict()["features.0.weight"] for part in (networks.first, networks.second))
    assert not np.allclose(first, second)
    card = (finished / "model-card.md").read_text()
    for part in ("| both stages | 0.", "| local | 2 | ", "| windows | 8 |", "20 images of", "lightning"):
        assert part in card, part
    assert len(list((finished / "plots").iterdir())) == 8


def test_a_finished_run_is_not_done_again_and_other_settings_are_refused(
    finished: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "model.safetensors").stat().st_mtime_ns
    command = arguments(scenes, finished)
    assert train_multi_context.main(command) == 0
    assert train_multi_context.main([*command, "--seed", "3"]) == 2
    assert "a finished run with other settings: seed (0 there, 3 here)" in capsys.readouterr().err
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"images": "here"}, "0 images of here have a mask"),
        ({"images": "here", "masks": "there", "batch_size": 3, "workers": 2}, "cannot be shared by 2 workers"),
        ({"dataset": "ecssd"}, "a data set needs --root"),
        ({"images": "here", "foreground_share": 1.0}, "foreground_share must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(
    options: dict[str, Any], sentence: str, scenes: Path, tmp_path: Path
) -> None:
    folders = {"here": str(scenes / "images"), "there": str(scenes / "masks")}
    located: dict[str, Any] = {name: folders.get(str(value), value) for name, value in options.items()}
    with pytest.raises(ValueError, match=sentence.replace("here", folders["here"]) if "have" in sentence else sentence):
        make_plan(
            MultiContextSettings(**located, output=str(tmp_path / "out"), model="squeezenet1_1", weights="random"),
            Cluster(address=None, slots=8, gpus=0),
        )
    assert not (tmp_path / "out").exists()
