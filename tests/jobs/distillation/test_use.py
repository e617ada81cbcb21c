"""A student in the saliency job: the plan, and the steps of a shard one after the other; no Ray."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.errors import SettingsError
from jobs.pipeline.network import network_step
from jobs.pipeline.steps import ShardSteps
from jobs.planning.cluster import Cluster
from jobs.planning.plan import make_plan
from jobs.run.claim import Claim
from jobs.run.manifest_files import write_manifest
from jobs.settings import SaliencySettings
from saliency_core import load_classifier
from saliency_core.methods.student import new_head
from saliency_core.networks.saliency_head import Student, student_weights
from saliency_core.networks.weights import to_safetensors
from tests.support.tiny_set import write_tiny_set

CLUSTER = Cluster(address=None, slots=4, gpus=0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    weights = student_weights(classifier, new_head(classifier))
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(to_safetensors(weights.tensors, weights.metadata))
    record = {
        "job": "distil",
        "fingerprint": "f",
        "teacher": {"stage": "objects"},
        "settings": {"rounds": 2, "seed": 3},
    }
    (folder / "_run.json").write_text(json.dumps(record))
    return folder


def test_its_rows_have_the_students_map_and_the_graph_behind_it_with_scores(model: Path, tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 3)
    (images / "broken.png").write_bytes(b"no image")
    settings = SaliencySettings(
        images=str(images),
        masks=str(masks),
        output=str(tmp_path / "run"),
        method="student",
        model_from=str(model),
        precision="bfloat16",
    )
    plan = make_plan(settings, CLUSTER)
    assert isinstance(plan.classifier, Student)
    assert plan.stages == ("student", "objects")
    assert plan.settings.model == "squeezenet1_1"
    assert plan.fine_tuned is not None
    assert plan.fine_tuned.origin["teacher"] == {"stage": "objects"}
    assert plan.fine_tuned.origin["seed"] == 3
    assert plan.staged is not None
    write_manifest(plan.staged, plan.settings.output, plan.shards)
    with Claim(plan.settings.output) as claim:
        steps = ShardSteps.of(plan, claim.token)
        rows = network_step(plan.classifier, plan.settings, 8)(steps.prepare(0))
        summary = steps.finish(rows, 0)
    assert summary.counts == {"ok": 3, "decode_error": 1}
    assert {stage: scores.images for stage, scores in summary.scores.items()} == {"student": 3, "objects": 3}
    (file,) = (tmp_path / "run" / "results").rglob("*.parquet")
    for row in pq.read_table(file).to_pylist():
        is_ok = row["status"] == "ok"
        assert (row["map_student"] is not None) == (row["map_objects"] is not None) == is_ok
        assert (row["label_probability"] is not None) == is_ok
        assert not is_ok or row["logit_before"] == row["logit_after"]


def test_without_a_student_the_method_is_refused_before_work(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    settings = SaliencySettings(
        images=str(images), output=str(tmp_path / "run"), method="student", model="squeezenet1_1", weights="random"
    )
    with pytest.raises(SettingsError, match=r"name one that jobs\.distil left by --model-from"):
        make_plan(settings, CLUSTER)
    assert not (tmp_path / "run").exists()


def test_other_methods_take_the_network_of_a_student(model: Path, tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    settings = SaliencySettings(images=str(images), output=str(tmp_path / "run"), model_from=str(model))
    plan = make_plan(settings, CLUSTER)
    assert plan.stages[-1] == "objects"
    assert plan.classifier is not None
    assert len(plan.classifier.class_names) == 5
