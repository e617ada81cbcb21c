"""The whole job on real photographs, by name of their data set: floors that a broken step would fall below."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import saliency
from jobs.inputs.data_sets import read_data_set
from jobs.reporting.evaluation import evaluate_run
from jobs.reporting.runs import open_run

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_scores_on_a_tenth_of_ecssd(real_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "ecssd"
    for folder, extension in (("images", "jpg"), ("ground_truth_mask", "png")):
        (root / folder).mkdir(parents=True)
        for path in sorted((real_data / "ecssd" / folder).glob(f"*.{extension}"))[::10]:
            (root / folder / path.name).symlink_to(path)
    network = ["--model", "squeezenet1_1", "--weights", str(real_data / "weights/squeezenet1_1.safetensors")]
    output = tmp_path / "out"
    # As published, and whole objects from the same passes.
    network += ["--preset", "paper", "--objects"]
    assert saliency.main(["--dataset", "ecssd", "--root", str(root), *network, "--output", str(output)]) == 0
    summary = evaluate_run(open_run(str(output))).summary
    assert summary.counts == {"ok": 50}
    figures = {stage: scores.figures().f_beta_of_mean_curve for stage, scores in summary.scores.items()}
    # All 500 photographs score about 0.40, 0.58, 0.68 and 0.80; an all-ones map 0.28, a centred Gaussian 0.59.
    assert figures["raw"] > 0.36
    assert figures["smoothed"] > 0.53
    assert figures["refined"] > 0.63
    assert figures["objects"] > 0.76
    rows = pq.read_table(output / "results", columns=["logit_before", "logit_after"]).to_pylist()
    fell = [row["logit_after"] < row["logit_before"] for row in rows]
    assert sum(fell) >= 48  # the erasure did what it is for


def test_the_butterflies_in_voc_layout(real_data: Path) -> None:
    found = read_data_set("voc", str(real_data / "leeds_voc"), "val", with_classes=True)
    assert len(found.image_uris) == 160
    assert None not in found.mask_uris
    assert found.class_names is not None
    assert len(set(found.class_names_of_images)) == len(found.class_names) == 10
    training = read_data_set("voc", str(real_data / "leeds_voc"), "finetune", with_classes=True)
    assert len(training.image_uris) == 240
    assert not set(training.image_uris) & set(found.image_uris)
