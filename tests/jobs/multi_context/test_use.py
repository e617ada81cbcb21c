"""Multi-context saliency in the saliency job: the plan, and the steps of a shard one after the other; no Ray."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.errors import SettingsError
from jobs.pipeline.network import network_step
from jobs.pipeline.steps import ShardSteps
from jobs.planning.cluster import Cluster
from jobs.planning.plan import Plan, make_plan
from jobs.run.claim import Claim
from jobs.run.manifest_files import write_manifest
from jobs.settings import SaliencySettings
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.png import encode_png
from saliency_core.methods.window_network import MultiContext
from saliency_core.networks.weights import to_safetensors
from tests.support.tiny_set import write_tiny_set
from tests.support.window_pairs import untaught_pair

CLUSTER = Cluster(address=None, slots=4, gpus=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = untaught_pair()
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.safetensors").write_bytes(to_safetensors(weights.tensors, weights.metadata))
    record = {"job": "train-multi-context", "fingerprint": "f", "images": {"train": 9}, "settings": {"seed": 3}}
    (folder / "_run.json").write_text(json.dumps(record))
    return folder


def done(settings: SaliencySettings) -> tuple[Plan, list[dict[str, Any]]]:
    """Do a run's only shard; return its rows in the order of their names."""
    plan = make_plan(settings, CLUSTER)
    assert plan.staged is not None
    assert plan.classifier is not None
    write_manifest(plan.staged, plan.settings.output, plan.shards)
    with Claim(plan.settings.output) as claim:
        steps = ShardSteps.of(plan, claim.token)
        rows = network_step(plan.classifier, plan.settings, 8)(steps.prepare(0))
        steps.finish(rows, 0)
    (file,) = (Path(settings.output) / "results").rglob("*.parquet")
    return plan, sorted(pq.read_table(file).to_pylist(), key=lambda row: str(row["image_uri"]))


@pytest.fixture(scope="module")
def rows(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("images")
    images, masks = write_tiny_set(folder, 3)
    (images / "broken.png").write_bytes(b"no image")
    plan, rows = done(
        SaliencySettings(
            images=str(images),
            masks=str(masks),
            output=str(folder / "run"),
            method="multi-context",
            model_from=str(model),
        )
    )
    assert isinstance(plan.classifier, MultiContext)
    assert plan.stages == ("global", "multi_context", "objects")
    assert "squeezenet1_1, input 64 x 64, a pair that tells salient windows" in plan.describe()
    assert plan.settings.model == "squeezenet1_1"
    assert plan.fine_tuned is not None
    assert plan.fine_tuned.origin["images"] == {"train": 9}
    assert plan.fine_tuned.origin["seed"] == 3
    return rows


def test_its_rows_have_the_maps_of_both_stages_and_the_graph_behind_them_with_scores(
    rows: list[dict[str, Any]],
) -> None:
    assert [row["status"] for row in rows] == ["decode_error", "ok", "ok", "ok"]
    for row in rows:
        is_ok = row["status"] == "ok"
        for stage in ("global", "multi_context", "objects"):
            assert (row[f"map_{stage}"] is not None) == is_ok
            assert (row[f"f_beta_{stage}"] is not None) == is_ok
        assert (row["seconds_network"] is not None) == is_ok
        # No class is asked for.
        assert row["label"] is row["label_name"] is row["label_probability"] is row["logit_before"] is None
        assert not is_ok or row["superpixels"] > 1


def test_what_else_is_in_a_file_changes_no_value(model: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 3)
    for name in ("image 000.png", "image 001.png"):
        (images / name).unlink()
    settings = SaliencySettings(
        images=str(images),
        masks=str(masks),
        output=str(tmp_path / "run"),
        method="multi-context",
        model_from=str(model),
    )
    _, (alone,) = done(settings)
    for stage in ("global", "multi_context", "objects"):
        assert alone[f"map_{stage}"] == rows[3][f"map_{stage}"]


def test_maps_of_original_size_keep_one_value_a_superpixel(model: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    y, x = np.mgrid[:90, :120]
    pixels = np.stack([y * 2, x * 2, 255 * ((y - 40) ** 2 + (x - 50) ** 2 < 500)], axis=2).astype(np.uint8)
    (images / "a.png").write_bytes(encode_png(pixels))
    settings = SaliencySettings(
        images=str(images),
        output=str(tmp_path / "run"),
        method="multi-context",
        model_from=str(model),
        working_size=60,
        map_size="original",
        precision="bfloat16",
        compile=True,
    )
    _, (row,) = done(settings)
    assert row["status"] == "ok", row["error"]
    assert (row["map_height"], row["map_width"]) == (90, 120)
    for stage in ("global", "multi_context"):
        levels = decode_image(row[f"map_{stage}"]["bytes"]).pixels[:, :, 0]
        assert levels.shape == (90, 120)
        assert 1 < len(np.unique(levels)) <= row["superpixels"]


def test_without_such_networks_the_method_is_refused_and_they_serve_no_other(model: Path, tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    common: dict[str, Any] = {"images": str(images), "output": str(tmp_path / "run")}
    wrong: dict[str, dict[str, Any]] = {
        r"name one that jobs\.train_multi_context left by --model-from": {
            "method": "multi-context",
            "model": "squeezenet1_1",
            "weights": "random",
        },
        "use them with --method multi-context": {"model_from": str(model)},
        "leave --input-size out": {"method": "multi-context", "model_from": str(model), "input_size": 96},
    }
    for sentence, options in wrong.items():
        with pytest.raises(SettingsError, match=sentence):
            make_plan(SaliencySettings(**common, **options), CLUSTER)
    assert not (tmp_path / "run").exists()
