"""The fine-tuning job on drawn images: what it leaves, killed and resumed, with two workers, from and to a bucket."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from jobs import finetune
from jobs.errors import SettingsError
from jobs.finetuning.evaluation import Errors
from jobs.finetuning.plan import FinetunePlan
from jobs.finetuning.run import FinetuneOutcome
from jobs.finetuning.settings import STRATEGIES
from jobs.pipeline.connecting import start_ray
from jobs.planning.cluster import Cluster
from jobs.planning.plan import make_plan
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from saliency_core import load_classifier
from saliency_core.networks.weights import read_weights, weights_checksum
from tests.support.s3_server import S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FOUR_SLOTS = Cluster(address=None, slots=4, gpus=0)
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}
QUICK = [
    *("--model", "demo.tiny_vgg:TinyVGG", "--weights", "random", "--input-size", "32", "--learning-rate", "0.03"),
    *("--epochs", "4", "--warmup-epochs", "0", "--batch-size", "4", "--validation-share", "0.25", "--slots", "4"),
]


@pytest.fixture(scope="module", autouse=True)
def one_ray(s3_server: S3Server) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        # Workers take their environment from the Ray that starts them.
        start_ray(address="local", num_cpus=4, include_dashboard=False)
        yield
        ray.shutdown()


def draw(folder: Path, count: int, seed: int) -> None:
    """Draw `count` images a class, of a disc in the class's colour."""
    generator = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(90, 160, (40, 48, 3), dtype=np.uint8)
            y, x = np.mgrid[:40, :48]
            pixels[(y - generator.integers(12, 28)) ** 2 + (x - generator.integers(12, 36)) ** 2 < 120] = colour
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images to train on, one of them broken and one without a class, and images to test with."""
    folder = tmp_path_factory.mktemp("images")
    draw(folder / "train", 12, 0)
    draw(folder / "test", 6, 1)
    (folder / "train" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    Image.new("RGB", (9, 9)).save(folder / "train" / "of no class.png")
    return folder


def arguments(images: Path | str, output: Path | str) -> list[str]:
    return ["--images", f"{images}/train", "--test", f"{images}/test", "--output", str(output), *QUICK]


@pytest.fixture(scope="module")
def finished(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("finished") / "run"
    assert finetune.main(arguments(images, output)) == 0
    return output


def table(output: Path | str, name: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(storage.read_bytes(f"{output}/{name}.parquet"))).to_pylist()


def course(output: Path | str) -> list[dict[str, Any]]:
    """What happened in every epoch, but for how long it took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in table(output, "metrics")]


def test_it_learns_and_leaves_all_that_belongs_to_a_network(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *("model.safetensors", "class_names.txt", "preprocessing.json", "model-card.md", "metrics.parquet"),
        *("predictions.parquet", "plots", "_run.json", "_SUCCESS"),
    }
    assert {path.name for path in (finished / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("loss", "error", "confusion") for kind in ("svg", "png")
    }
    record = json.loads((finished / "_run.json").read_text())
    assert record["state"] == "finished"
    assert record["errors"]["test"]["images"] == 18
    assert record["errors"]["test"]["top1"] <= 0.34
    history = table(finished, "metrics")
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    best = min(history, key=lambda row: row["validation_loss"])
    assert record["best_epoch"] == best["epoch"]
    # What the workers counted is what the saved network says again.
    assert record["errors"]["validation"]["top1"] == pytest.approx(best["validation_top1_error"], abs=1e-6)


def test_every_image_has_a_row_whatever_befell_it(finished: Path) -> None:
    rows = table(finished, "predictions")
    assert len(rows) == 12 * 3 + 1 + 6 * 3
    broken = [row for row in rows if row["status"] != "ok"]
    assert [Path(row["image_uri"]).name for row in broken] == ["broken.jpg"]
    assert broken[0]["status"] == "decode_error"
    assert broken[0]["predicted"] is None
    record = json.loads((finished / "_run.json").read_text())
    assert record["without_class"] == 1
    part = broken[0]["part"]
    assert record["errors"][part]["unread"] == 1
    assert {row[f"{part}_unread"] for row in table(finished, "metrics")} <= {0, 1}
    for row in rows:
        assert row["label_name"] == Path(row["image_uri"]).parent.name


def test_the_card_tells_data_settings_epochs_confusion_and_versions(finished: Path) -> None:
    card = (finished / "model-card.md").read_text()
    for part in ("## Errors", "| test | 18 | 0 |", "1 images without a class", "| blue |", "## Epochs", "| 4 | "):
        assert part in card, part
    for part in ("## Confusion matrix", "| learning_rate | 0.03 |", "lightning", "torchmetrics", "ray "):
        assert part in card, part


def test_the_saved_network_says_what_the_predictions_say(finished: Path) -> None:
    classifier = load_classifier("demo.tiny_vgg:TinyVGG", finished / "model.safetensors")
    assert classifier.class_names == tuple((finished / "class_names.txt").read_text().split())
    assert (
        classifier.preprocessing.input_size == json.loads((finished / "preprocessing.json").read_text())["input_size"]
    )


def test_the_saliency_job_uses_it_and_records_where_it_came_from(finished: Path, images: Path, tmp_path: Path) -> None:
    def plan(**given: Any) -> Any:
        options: dict[str, Any] = {"images": str(images / "test"), "output": str(tmp_path / "saliency")} | given
        return make_plan(SaliencySettings(**options), FOUR_SLOTS)

    for uri in (finished, finished / "model.safetensors"):
        found = plan(model_from=str(uri), model="demo.tiny_vgg:TinyVGG")
        assert found.classifier.class_names == ("blue", "green", "red")
        assert (found.settings.model, found.classifier.preprocessing.input_size) == ("demo.tiny_vgg:TinyVGG", 32)
        assert found.fine_tuned.origin["strategy"] == "all"
        assert found.fine_tuned.origin["errors"]["test"]["images"] == 18
        assert str(finished) in found.describe()
    with pytest.raises(SettingsError, match=r"is demo\.tiny_vgg:TinyVGG, not resnet18: leave --model out"):
        plan(model_from=str(finished), model="resnet18")
    with pytest.raises(SettingsError, match=r"if you trust that code, name it by --model demo\.tiny_vgg:TinyVGG"):
        plan(model_from=str(finished))
    with pytest.raises(SettingsError, match="there is no fine-tuned network"):
        plan(model_from=str(tmp_path))
    with pytest.raises(SettingsError, match="brings weights and classes"):
        plan(model_from=str(finished), weights="random")


def test_the_same_command_again_finds_nothing_to_do_and_other_settings_are_refused(
    finished: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "model.safetensors").stat().st_mtime_ns
    assert finetune.main(arguments(images, finished)) == 0
    assert finetune.main([*arguments(images, finished), "--seed", "3"]) == 2
    assert "a finished run with other settings: seed (0 there, 3 here)" in capsys.readouterr().err
    assert (finished / "model.safetensors").stat().st_mtime_ns == before


def test_killed_and_started_again_it_ends_as_if_nothing_had_happened(
    finished: Path, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    command = [sys.executable, "-m", "jobs.finetune", *arguments(images, output)]
    log = tmp_path / "log"
    with log.open("wb") as stream:
        # A Ray of its own, which ends with it.
        environment = os.environ | {"RAY_ADDRESS": ""}
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
    snapshot = output / "_training" / "checkpoint_manager_snapshot.json"
    deadline = time.monotonic() + 800
    while not (snapshot.exists() and "epoch-0002" in snapshot.read_text()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "model.safetensors").exists()
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "show_epoch", lambda row: seen.append(row["epoch"]))
        assert finetune.main(arguments(images, output)) == 0
    assert seen in ([3, 4], [4], [])  # goes on, and does not begin again
    assert course(output) == course(finished)
    # Not the bytes of the files: safetensors writes its metadata in any order.
    resumed, whole = (read_weights(folder / "model.safetensors") for folder in (output, finished))
    assert resumed.metadata == whole.metadata
    assert weights_checksum(resumed.tensors) == weights_checksum(whole.tensors)


def test_two_workers_from_and_to_a_bucket_find_what_one_finds(
    finished: Path, images: Path, s3_server: S3Server
) -> None:
    s3_server.make_bucket("butterflies")
    for path in images.rglob("*.*"):
        storage.write_bytes(f"s3://butterflies/{path.relative_to(images)}", path.read_bytes())
    output = "s3://butterflies/run"
    assert finetune.main([*arguments("s3://butterflies", output), "--workers", "2", "--cpus-per-worker", "1"]) == 0
    assert not storage.list_files(f"{output}/_training")
    one, two = table(finished, "metrics"), table(output, "metrics")
    assert [row["epoch"] for row in two] == [row["epoch"] for row in one]
    record = json.loads(storage.read_bytes(f"{output}/_run.json"))
    assert record["cluster"]["workers"] == 2
    assert record["errors"]["test"]["images"] == 18
    assert record["errors"]["test"]["top1"] <= 0.34
    assert len(table(output, "predictions")) == len(table(finished, "predictions"))


def test_images_that_are_all_broken_end_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            (tmp_path / name / f"{index}.png").write_bytes(b"no image")
    code = finetune.main(["--images", str(tmp_path), "--output", f"{tmp_path}/out", *QUICK, "--max-failures", "0"])
    assert code == 1
    assert "none of the train images can be read" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune.main([*arguments(images, tmp_path / "run"), "--dry-run", "--strategy", "each"]) == 0
    said = capsys.readouterr().out
    assert said.count("strategy  ") == 3
    assert "classes   3, of 9 to 10 training images" in said
    assert not (tmp_path / "run").exists()


def test_the_table_has_a_line_a_strategy_with_mean_and_spread(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(plan: FinetunePlan, on_epoch: object) -> FinetuneOutcome:
        wrong = (1 + STRATEGIES.index(plan.settings.strategy) + plan.settings.seed) / 20
        return FinetuneOutcome({"test": Errors(20, 0, wrong, 0.0, np.zeros((3, 3), np.int64))}, 4, 3, 30.0)

    monkeypatch.setattr("jobs.finetuning.table.run", run)
    command = [*arguments(images, tmp_path), "--strategy", "each", "--repeats", "2"]
    assert finetune.main(command) == 0
    assert (tmp_path / "table.md").read_text().splitlines() == [
        "Errors on 20 test images.",
        "",
        "| strategy | runs | top-1 error, % | top-5 error, % | epochs | minutes |",
        "|---|---:|---:|---:|---:|---:|",
        "| all | 2 | 7.5 ± 3.5 | 0.0 ± 0.0 | 4.0 ± 0.0 | 0.5 ± 0.0 |",
        "| head-faster | 2 | 12.5 ± 3.5 | 0.0 ± 0.0 | 4.0 ± 0.0 | 0.5 ± 0.0 |",
        "| head-only | 2 | 17.5 ± 3.5 | 0.0 ± 0.0 | 4.0 ± 0.0 | 0.5 ± 0.0 |",
    ]
    assert [(row["strategy"], row["seed"]) for row in table(tmp_path, "table")] == [
        (strategy, seed) for seed in (0, 1) for strategy in STRATEGIES
    ]
