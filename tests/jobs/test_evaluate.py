"""Scores of runs from their histograms, against numbers worked by hand and against the scores of the rows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import s3fs
from PIL import Image

from jobs.errors import SettingsError
from jobs.evaluate import main
from jobs.reporting.runs import open_run, open_runs, run_names
from jobs.reporting.scores import evaluate
from jobs.reporting.tables import FIGURES, curves_table, scores_table
from saliency_core.scoring.structure import s_measure, weighted_f_beta
from tests.support.made_runs import MadeRow, make_run, ten_pixels, write_picture
from tests.support.s3_server import S3Server

# Four of ten pixels are the object. At every threshold above 0 the three maps have these precisions and recalls:
# 3/4 and 3/4; 1 and 1/2; 0 and 0. At threshold 0 all have 4/10 and 1.
COUNTS = ((4, 3, 1), (4, 2, 0), (4, 0, 1))
AT_ZERO = 1.3 * 0.4 / (0.3 * 0.4 + 1)
OWN_BEST = (0.75, 1.3 * 0.5 / (0.3 + 0.5), AT_ZERO)
MEAN_ABOVE_ZERO = (0.75 + 1.3 * 0.5 / 0.8 + 0) / 3
MEAN_PRECISION, MEAN_RECALL = (0.75 + 1 + 0) / 3, (0.75 + 0.5 + 0) / 3


def scored_rows() -> list[MadeRow]:
    rows = []
    for number, counts in enumerate(COUNTS):
        levels, mask = ten_pixels(*counts)
        rows.append(MadeRow(f"/images/{number}.png", {"raw": mask * np.uint8(255), "refined": levels}, mask))
    return rows


def all_kinds_of_rows() -> list[MadeRow]:
    levels, mask = ten_pixels(4, 2, 2)
    failed = {"status": "fetch_error", "error": "not there"} | {f"seconds_{name}": None for name in ("network", "maps")}
    return [
        *scored_rows(),
        MadeRow("/images/empty mask.png", {"raw": levels, "refined": levels}, np.zeros_like(mask)),
        MadeRow("/images/no mask.png", {"raw": levels, "refined": levels}),
        MadeRow("/images/gone.png", columns=failed),
    ]


def test_scores_are_those_worked_by_hand(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "run", all_kinds_of_rows()))
    raw, refined = scores_table(evaluate([run])).to_pylist()
    assert (refined["stage"], refined["rows"], refined["images"], refined["empty_masks"]) == ("refined", 6, 3, 1)
    assert (refined["rows_ok"], refined["rows_fetch_error"], refined["rows_decode_error"]) == (5, 1, 0)
    a = 1.3 * MEAN_PRECISION * MEAN_RECALL / (0.3 * MEAN_PRECISION + MEAN_RECALL)
    assert refined["f_beta_of_mean_curve"] == pytest.approx(a)
    assert refined["f_beta_max_of_mean"] == pytest.approx(MEAN_ABOVE_ZERO)
    assert refined["f_beta_mean_of_max"] == pytest.approx(sum(OWN_BEST) / 3)
    assert refined["f_beta_mean"] == pytest.approx((255 * MEAN_ABOVE_ZERO + AT_ZERO) / 256)
    assert refined["f_beta_adaptive"] == pytest.approx(MEAN_ABOVE_ZERO)
    assert refined["mae"] == pytest.approx((0.2 + 0.2 + 0.5) / 3)
    assert (raw["f_beta_of_mean_curve"], raw["f_beta_mean_of_max"], raw["mae"]) == (1, 1, 0)
    assert refined["s_measure"] is None
    # The failed row has no seconds for two parts: five rows of half a second over six rows.
    assert refined["seconds_network"] == pytest.approx(5 * 0.5 / 6)
    assert refined["images_per_second"] == 4


def test_curves_are_those_worked_by_hand(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "run", all_kinds_of_rows()))
    curves = curves_table(evaluate([run])).to_pandas()
    refined = curves[curves.stage == "refined"]
    assert refined.threshold.tolist() == list(range(256))
    assert refined.precision.to_numpy() == pytest.approx([0.4] + [MEAN_PRECISION] * 255)
    assert refined.recall.to_numpy() == pytest.approx([1] + [MEAN_RECALL] * 255)
    assert refined.f_beta_mean.to_numpy() == pytest.approx([AT_ZERO] + [MEAN_ABOVE_ZERO] * 255)


def test_the_number_of_rows_in_a_file_does_not_matter(tmp_path: Path) -> None:
    rows = all_kinds_of_rows()
    uris = [make_run(tmp_path / str(size), rows, rows_per_file=size) for size in (1, 4, 100)]
    tables = [scores_table(evaluate([open_run(uri)])).to_pylist() for uri in uris]
    for name in FIGURES:
        assert [table[1][name] for table in tables] == [pytest.approx(tables[0][1][name])] * 3


def test_a_run_without_masks_has_null_scores_and_no_curve(tmp_path: Path) -> None:
    levels, _ = ten_pixels(4, 2, 2)
    run = open_run(make_run(tmp_path / "run", [MadeRow("/images/a.png", {"raw": levels, "refined": levels})]))
    found = evaluate([run], structure_scores=True)
    for row in scores_table(found).to_pylist():
        assert {row[name] for name in FIGURES} == {None}
        assert (row["images"], row["rows_ok"], row["structure_images"]) == (0, 1, 0)
    assert curves_table(found).num_rows == 0


def test_structure_scores_are_means_over_the_images_whose_mask_can_be_fetched(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows, expected = [], []
    for number in range(4):
        levels = generator.integers(0, 256, (20, 30), dtype=np.uint8)
        mask = np.zeros((20, 30), bool)
        mask[4:15, 6 : 12 + number] = True
        uri = str(tmp_path / "gone.png")
        if number < 3:
            uri = write_picture(tmp_path / f"{number}.png", mask)
            expected.append((s_measure(levels, mask), weighted_f_beta(levels, mask)))
        rows.append(MadeRow(f"/images/{number}.jpg", {"refined": levels}, mask, {"mask_uri": uri}))
    run = open_run(make_run(tmp_path / "run", rows, stages=["refined"]))
    (row,) = scores_table(evaluate([run], structure_scores=True)).to_pylist()
    assert (row["structure_images"], row["structure_without_mask"], row["images"]) == (3, 1, 4)
    assert (row["s_measure"], row["weighted_f_beta"]) == pytest.approx(np.mean(expected, axis=0))


@pytest.mark.parametrize("turned", ["as displayed", "as stored", "another"])
def test_structure_scores_find_the_orientation_of_the_mask(tmp_path: Path, turned: str) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (30, 20), dtype=np.uint8)
    mask = np.zeros((30, 20), bool)
    mask[3:20, 2:9] = True
    # EXIF orientation 6: what is stored is the displayed picture turned a quarter to the left.
    files = {"as displayed": mask, "as stored": np.rot90(mask), "another": ~mask}
    uri = write_picture(tmp_path / "mask.png", np.ascontiguousarray(files[turned]))
    rows = [MadeRow("/images/a.jpg", {"refined": levels}, mask, {"mask_uri": uri})]
    (row,) = scores_table(
        evaluate([open_run(make_run(tmp_path / "run", rows, stages=["refined"]))], structure_scores=True)
    ).to_pylist()
    if turned == "another":
        assert (row["structure_images"], row["structure_without_mask"], row["s_measure"]) == (0, 1, None)
    else:
        assert row["s_measure"] == pytest.approx(s_measure(levels, mask))


def test_structure_scores_of_maps_at_another_size_than_the_image(tmp_path: Path) -> None:
    mask = np.zeros((8, 12), bool)
    mask[2:5, 3:8] = True
    large = np.asarray(Image.fromarray(mask).resize((48, 32), Image.Resampling.NEAREST))
    levels = np.arange(96, dtype=np.uint8).reshape(8, 12)
    columns = {"mask_uri": write_picture(tmp_path / "mask.png", large), "height": 32, "width": 48}
    run = open_run(
        make_run(tmp_path / "run", [MadeRow("/a.jpg", {"refined": levels}, mask, columns)], stages=["refined"])
    )
    (row,) = scores_table(evaluate([run], structure_scores=True)).to_pylist()
    assert row["s_measure"] == pytest.approx(s_measure(levels, mask))


def test_scores_of_cut_out_objects_are_means_in_the_row_of_the_last_stage(tmp_path: Path) -> None:
    rows = all_kinds_of_rows()
    for row, f_beta, iou in zip(rows[:2], (0.5, 0.75), (0.25, 1.0), strict=True):
        row.columns = {"segmentation_f_beta": f_beta, "segmentation_iou": iou}
    raw, refined = scores_table(evaluate([open_run(make_run(tmp_path / "run", rows, segmented=True))])).to_pylist()
    assert (refined["segmentation_images"], refined["segmentation_f_beta"], refined["segmentation_iou"]) == (
        2,
        0.625,
        0.625,
    )
    assert (raw["segmentation_images"], raw["segmentation_f_beta"], raw["segmentation_iou"]) == (0, None, None)


def test_the_command_writes_two_tables_and_prints_the_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make_run(tmp_path / "first", all_kinds_of_rows())
    second = make_run(tmp_path / "second", scored_rows(), method="low-level")
    assert main(["--runs", first, second, "--output", str(tmp_path / "out")]) == 0
    scores = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    curves = pq.read_table(tmp_path / "out" / "curves.parquet")
    assert [(row["name"], row["stage"]) for row in scores] == [
        ("clamped-erasure", "raw"),
        ("clamped-erasure", "refined"),
        ("low-level", "raw"),
        ("low-level", "refined"),
    ]
    assert curves.num_rows == 4 * 256
    printed = capsys.readouterr().out
    assert f"{scores[1]['f_beta_of_mean_curve']:.4f}" in printed
    assert "fetch_error 1" in printed


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    uri = make_run(tmp_path / "run", scored_rows())
    assert main(["--runs", uri, "--output", str(tmp_path / "out"), "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_refused_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = make_run(tmp_path / "run", scored_rows(), finished=False)
    arguments = ["--runs", uri, "--output", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "has not finished" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--partial"]) == 0
    assert not any(row["finished"] for row in pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist())


def test_what_is_no_run_is_refused_in_one_sentence(tmp_path: Path) -> None:
    uri = make_run(tmp_path / "run", scored_rows())
    empty = make_run(tmp_path / "empty", [])
    older = make_run(tmp_path / "older", scored_rows())
    Path(older, "_run.json").write_text('{"schema_version": 0}')
    damaged = make_run(tmp_path / "damaged", scored_rows())
    Path(damaged, "_run.json").write_text("{")
    for uris, reason in (
        ([], "no run is named"),
        ([str(tmp_path / "nothing")], "there is no run"),
        ([uri, uri + "/"], "named twice"),
        ([empty], "holds no results"),
        ([older], "version 0"),
        ([damaged], "cannot be read"),
        (["nowhere://bucket/run"], "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=reason):
            open_runs(uris)


def test_a_damaged_file_of_results_ends_the_evaluation_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = make_run(tmp_path / "run", scored_rows())
    Path(uri, "results", "part-00000001.parquet").write_bytes(b"PAR1 and no more")
    assert main(["--runs", uri, "--output", str(tmp_path / "out")]) == 1
    assert "the evaluation failed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_names_tell_runs_of_one_method_apart(tmp_path: Path) -> None:
    uris = [make_run(tmp_path / name, scored_rows()) for name in ("a", "b", "x/b")]
    other = make_run(tmp_path / "c", scored_rows(), method="gradient")
    assert run_names(open_runs([uris[0], uris[1], other])) == ["clamped-erasure (a)", "clamped-erasure (b)", "gradient"]
    assert run_names(open_runs(uris[1:])) == [f"clamped-erasure ({uri})" for uri in uris[1:]]


@pytest.mark.slow
def test_ray_data_gives_the_same_scores(tmp_path: Path) -> None:
    rows = [MadeRow(f"/{copy}{row.uri}", row.maps, row.foreground) for copy in range(40) for row in scored_rows()]
    uri = make_run(tmp_path / "run", rows, rows_per_file=1)  # 120 files: more than one task
    main(["--runs", uri, "--output", str(tmp_path / "here")])
    command = [sys.executable, "-m", "jobs.evaluate", "--runs", uri, "--output", str(tmp_path / "ray")]
    subprocess.run([*command, "--ray-address", "local"], check=True, timeout=300)
    here, there = (pq.read_table(tmp_path / name / "scores.parquet").to_pylist() for name in ("here", "ray"))
    assert [row["images"] for row in there] == [120, 120]
    for name in (name for name in FIGURES if here[1][name] is not None):
        assert there[1][name] == pytest.approx(here[1][name])


@pytest.mark.slow
def test_a_run_in_object_storage(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3_server.make_bucket("evaluation-tests")
    levels, mask = ten_pixels(4, 3, 1)
    filesystem = s3fs.S3FileSystem()
    filesystem.put(write_picture(tmp_path / "mask.png", mask), "evaluation-tests/mask.png")
    columns = {"mask_uri": "s3://evaluation-tests/mask.png"}
    rows = [MadeRow("s3://evaluation-tests/a.png", {"refined": levels}, mask, columns)]
    filesystem.put(make_run(tmp_path / "run", rows, stages=["refined"]), "evaluation-tests/run", recursive=True)
    arguments = ["--runs", "s3://evaluation-tests/run", "--output", "s3://evaluation-tests/out", "--structure-scores"]
    assert main(arguments) == 0
    with filesystem.open("evaluation-tests/out/scores.parquet", "rb") as file:
        (row,) = pq.read_table(file).to_pylist()
    assert row["f_beta_of_mean_curve"] == pytest.approx(0.75)
    assert row["structure_images"] == 1
