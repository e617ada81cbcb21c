"""The whole job on local files: results, record, exit codes, and what happens to bad input."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
import torch
from PIL import Image

from jobs import saliency
from jobs.console.command_line import parse_settings
from jobs.errors import SettingsError
from jobs.pipeline import driver
from jobs.pipeline.connecting import start_ray
from jobs.pipeline.network import NetworkStep
from jobs.pipeline.passes import NetworkPasses
from jobs.pipeline.prepare import PrepareStep
from jobs.pipeline.results import ResultStep
from jobs.planning.cluster import Cluster
from jobs.planning.plan import make_plan
from jobs.run.manifest_files import read_shard
from jobs.run.schema import STATUSES, TIMED, results_schema
from jobs.settings import SaliencySettings
from saliency_core import load_classifier
from saliency_core import saliency as saliency_of_arrays
from saliency_core.imaging.png import decode_png_map
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.parameters import ErasureParameters, SaliencyParameters
from saliency_core.scoring.histograms import to_8bit
from tests.support.tiny_set import QUICK, write_tiny_set

STAGES = ("raw", "smoothed", "refined", "objects")
FOUR_SLOTS = Cluster(address=None, slots=4, gpus=0)


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    # One plan here asks for a GPU; a logical one is there for it on any machine.
    start_ray(address="local", num_cpus=4, num_gpus=1, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over eleven images, three of them broken, one without and one with an unfitting mask."""
    folder = tmp_path_factory.mktemp("finished")
    images, masks = write_tiny_set(folder, 8)
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    (images / "empty.png").touch()
    Image.new("RGB", (30, 20), (9, 9, 200)).save(images / "lonely.webp")
    Image.new("RGB", (300, 200)).save(images / "huge.bmp")
    (masks / "image 003.png").unlink()
    Image.new("L", (5, 5)).save(masks / "image 004.png")
    Image.new("L", (40, 40)).save(masks / "image 005.png")  # no foreground
    arguments = ["--images", str(images), "--masks", str(masks), "--output", str(folder / "out")]
    assert saliency.main([*arguments, *QUICK, "--max-pixels", "50000", "--slots", "4"]) == 0
    return folder


def rows_by_name(folder: Path) -> dict[str, dict]:
    table = pq.read_table(folder / "out" / "results")
    return {Path(row["image_uri"]).name: row for row in table.to_pylist()}


def test_every_input_has_one_row_with_its_status(finished: Path) -> None:
    rows = rows_by_name(finished)
    inputs = {path.name for path in (finished / "images").iterdir()}
    assert set(rows) == inputs
    assert pq.read_table(finished / "out" / "results").num_rows == len(inputs)
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "ok"} == {
        "broken.jpg": "decode_error",
        "empty.png": "decode_error",
        "huge.bmp": "too_large",
        "image 004.png": "mask_error",
    }
    for row in rows.values():
        assert row["status"] in STATUSES
        assert (row["error"] is None) == (row["status"] == "ok")


def test_rows_hold_maps_scores_and_label(finished: Path) -> None:
    row = rows_by_name(finished)["image 000.png"]
    assert (row["width"], row["height"], row["map_width"], row["map_height"]) == (64, 48, 64, 48)
    assert row["label_name"] == f"class {row['label']}"
    assert 0.2 <= row["label_probability"] <= 1.0
    assert row["superpixels"] > 4
    assert row["mask_empty"] is False
    for stage in STAGES:
        map_ = decode_png_map(row[f"map_{stage}"]["bytes"])
        assert map_.shape == (48, 64)
        assert (map_.min(), map_.max()) == (0, 255)
        foreground, background = (np.array(row[f"{kind}_histogram_{stage}"]) for kind in ("foreground", "background"))
        assert (foreground + background).tolist() == np.bincount(map_.ravel(), minlength=256).tolist()
        assert 0 <= row[f"mae_{stage}"] <= 1
        assert 0 <= row[f"f_beta_adaptive_{stage}"] <= row[f"f_beta_{stage}"] <= 1
        assert row[f"f_beta_{stage}"] > 0
    assert row["seconds_segmentation"] is None
    assert all(row[f"seconds_{name}"] > 0 for name in ("fetch", "decode", "superpixels", "network", "maps"))


def test_masks_that_are_missing_unfitting_or_empty(finished: Path) -> None:
    rows = rows_by_name(finished)
    missing, unfitting, empty = (rows[f"image 00{index}.png"] for index in (3, 4, 5))
    assert (missing["mask_uri"], missing["mask_empty"], missing["mae_raw"]) == (None, None, None)
    assert missing["foreground_histogram_raw"] is None
    assert unfitting["map_refined"] is not None
    assert unfitting["f_beta_refined"] is None
    assert "5 x 5" in unfitting["error"]
    assert empty["mask_empty"] is True
    assert empty["f_beta_refined"] is None


def test_results_equal_the_plain_function(finished: Path) -> None:
    row = rows_by_name(finished)["image 001.png"]
    image = np.asarray(Image.open(finished / "images" / "image 001.png"))
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    parameters = SaliencyParameters(erasure=ErasureParameters(iterations=2))
    result = saliency_of_arrays(image, classifier, parameters=parameters)
    assert result.label == row["label"]
    assert result.logit_after == pytest.approx(row["logit_after"], abs=1e-4)
    for stage in STAGES:
        difference = to_8bit(result.maps[stage]).astype(int) - decode_png_map(row[f"map_{stage}"]["bytes"])
        assert np.abs(difference).max() <= 1


def test_record_and_success(finished: Path) -> None:
    record = json.loads((finished / "out" / "_run.json").read_text())
    assert (finished / "out" / "_SUCCESS").exists()
    assert record["state"] == "finished"
    assert record["counts"] == {"ok": 8, "decode_error": 2, "too_large": 1, "mask_error": 1}
    assert record["settings"]["erasure"]["iterations"] == 2
    assert len(record["weights_sha256"]) == 64
    assert record["packages"]["ray"] == ray.__version__
    assert set(record["seconds_per_stage"]) == set(TIMED)
    assert record["scores"]["refined"]["images"] == 5
    assert record["scores"]["refined"]["empty_masks"] == 1
    assert record["started"] <= record["finished"]


def test_files_have_the_schema_even_where_columns_are_all_null(finished: Path) -> None:
    for path in (finished / "out" / "results").iterdir():
        assert pq.read_schema(path).remove_metadata() == results_schema(STAGES).remove_metadata()
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    assert features["map_refined"] == {"_type": "Image"}
    assert features["image_id"] == {"dtype": "int64", "_type": "Value"}


def test_duckdb_and_polars_read_the_results(finished: Path) -> None:
    pattern = str(finished / "out" / "results" / "*.parquet")
    with duckdb.connect() as connection:
        query = f"select status, count(*) from '{pattern}' group by status order by all"
        counts = connection.execute(query).fetchall()
        query = f"select len(foreground_histogram_raw) from '{pattern}' where mae_raw > 0 limit 1"
        lengths = connection.execute(query).fetchall()
    assert counts == [("decode_error", 2), ("mask_error", 1), ("ok", 8), ("too_large", 1)]
    assert lengths == [(256,)]
    assert polars.scan_parquet(pattern).select("f_beta_refined").collect().height == 12


def test_a_finished_run_started_again_does_nothing(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "out").rglob("*")}
    folders = ["--images", str(finished / "images"), "--masks", str(finished / "masks")]
    arguments = [*folders, "--output", str(finished / "out"), *QUICK]
    assert saliency.main([*arguments, "--max-pixels", "50000"]) == 0
    assert "is finished: there is nothing to do" in capsys.readouterr().out
    assert saliency.main([*arguments, "--max-pixels", "50001"]) == 2
    assert "holds a finished run with other settings: max_pixels (50000 there, 50001 here)" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "out").rglob("*")}


def test_overwrite_starts_afresh(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 5)
    arguments = ["--images", str(images), "--output", str(tmp_path / "out"), "--method", "low-level"]
    assert saliency.main([*arguments, "--rows-per-file", "1"]) == 0
    (tmp_path / "out" / "notes of somebody.txt").touch()
    assert saliency.main([*arguments, "--rows-per-file", "5", "--overwrite"]) == 0
    assert (tmp_path / "out" / "notes of somebody.txt").exists()
    (left,) = (tmp_path / "out" / "results").iterdir()
    assert left.name.startswith("part-00000000-")  # of another epoch: no writer of the first run can reach it


def test_an_unfinished_run_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = write_tiny_set(tmp_path, 7)
    arguments = ["--images", str(images), "--output", str(tmp_path / "out"), "--method", "low-level"]
    assert saliency.main([*arguments, "--rows-per-file", "2"]) == 0
    (tmp_path / "out" / "_SUCCESS").unlink()
    lost = tmp_path / "out" / "results" / "part-00000001.parquet"
    before = pq.read_table(lost).drop_columns(
        ["seconds_superpixels", "seconds_maps", "seconds_fetch", "seconds_decode"]
    )
    lost.unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in lost.parent.iterdir()}
    assert saliency.main([*arguments, "--working-size", "20"]) == 2
    assert "working_size" in capsys.readouterr().err
    assert saliency.main(arguments) == 0
    assert kept == {path.name: path.stat().st_mtime_ns for path in lost.parent.iterdir() if path != lost}
    assert before.equals(pq.read_table(lost, columns=before.column_names))
    assert pq.read_table(lost.parent).num_rows == 7
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_rows_that_failed_are_done_again_as_in_an_undisturbed_run(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 10)
    arguments = ["--images", str(images), "--masks", str(masks), *QUICK, "--slots", "4"]
    assert saliency.main([*arguments, "--output", str(tmp_path / "whole")]) == 0
    damaged = {path: path.read_bytes() for path in (images / "image 001.png", images / "image 008.png")}
    for path in damaged:
        path.write_bytes(b"no image")
    again = [*arguments, "--output", str(tmp_path / "again")]
    assert saliency.main(again) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "again" / "results").iterdir()}
    for path, content in damaged.items():
        path.write_bytes(content)
    assert saliency.main([*again, "--retry-errors"]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "again" / "results").iterdir()}
    assert {name for name in after if after[name] == before[name]} == {"part-00000001.parquet"}
    whole, found = (pq.read_table(tmp_path / name / "results") for name in ("whole", "again"))
    names = [name for name in whole.column_names if not name.startswith("seconds_")]
    assert found.select(names) == whole.select(names)
    records = [json.loads((tmp_path / name / "_run.json").read_text()) for name in ("whole", "again")]
    assert records[0]["counts"] == records[1]["counts"] == {"ok": 10}
    assert records[1]["scores"]["refined"] == pytest.approx(records[0]["scores"]["refined"], rel=1e-12)


def test_a_method_without_a_network(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 3)
    arguments = ["--images", str(images), "--masks", str(masks), "--output", str(tmp_path / "out")]
    assert saliency.main([*arguments, "--method", "low-level"]) == 0
    table = pq.read_table(tmp_path / "out" / "results")
    assert table.schema.remove_metadata() == results_schema(("saliency",)).remove_metadata()
    assert table["label"].null_count == 3
    # A red disc on grey: colour contrast finds it. A map of ones scores 0.13 to 0.24 here.
    assert min(table["f_beta_saliency"].to_pylist()) > 0.4


def test_a_data_set_by_name_with_segmentation(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 4)
    for path in images.iterdir():
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    masks.rename(tmp_path / "ground_truth_mask")
    arguments = ["--dataset", "ecssd", "--root", str(tmp_path), "--method", "region-contrast", "--segment"]
    assert saliency.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    rows = pq.read_table(tmp_path / "out" / "results").to_pylist()
    assert len(rows) == 4
    for row in rows:
        segmented = decode_png_map(row["segmentation"]["bytes"])
        assert segmented.shape == (row["map_height"], row["map_width"])
        assert set(np.unique(segmented)) <= {0, 255}
        mask = np.asarray(Image.open(row["mask_uri"])) > 127
        overlap = np.count_nonzero(mask & (segmented > 0)) / np.count_nonzero(mask | (segmented > 0))
        assert row["segmentation_iou"] == pytest.approx(overlap)
    assert max(row["segmentation_iou"] for row in rows) > 0.7


def test_large_photographs_are_reduced_and_maps_can_be_full_size(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    photograph = Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 90, 3), dtype=np.uint8))
    exif = photograph.getexif()
    exif[0x0112] = 6  # displayed turned by a quarter
    photograph.save(images / "a.jpg", exif=exif)
    arguments = ["--images", str(images), "--method", "low-level", "--working-size", "60"]
    values: list[set[int]] = []
    for size, expected in (("working", (60, 45)), ("original", (120, 90))):
        assert saliency.main([*arguments, "--map-size", size, "--output", str(tmp_path / size)]) == 0
        (row,) = pq.read_table(tmp_path / size / "results").to_pylist()
        assert (row["width"], row["height"]) == (120, 90)
        assert (row["map_width"], row["map_height"]) == expected
        map_ = decode_png_map(row["map_saliency"]["bytes"])
        assert map_.shape == expected[::-1]
        values.append(set(np.unique(map_)))
    assert values[1] <= values[0]  # one value a superpixel at any size


def test_manifest_with_ids_labels_and_masks(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 3)
    (tmp_path / "names.txt").write_text("ape\nbee\ncow\ndog\nelk\n")
    lines = [
        f"images/image 00{i}.png,masks/image 00{i}.png,{label},{i + 70}" for i, label in enumerate(("cow", "elk", ""))
    ]
    (tmp_path / "list.csv").write_text("\n".join(["uri,mask_uri,label,id", *lines]))
    arguments = ["--images", str(tmp_path / "list.csv"), "--class-names", str(tmp_path / "names.txt"), *QUICK]
    assert saliency.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    rows = {row["image_id"]: row for row in pq.read_table(tmp_path / "out" / "results").to_pylist()}
    assert [rows[70]["label_name"], rows[71]["label_name"]] == ["cow", "elk"]
    assert rows[72]["label"] is not None
    assert rows[70]["mask_uri"] == str(masks / "image 000.png")
    assert rows[70]["image_uri"] == str(images / "image 000.png")


def test_missing_files_of_a_list_are_fetch_errors(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 2)
    (tmp_path / "list.txt").write_text(f"{images}/image 000.png\n{images}/nowhere.png\n\n")
    arguments = ["--images", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out"), "--method", "low-level"]
    assert saliency.main(arguments) == 0
    statuses = pq.read_table(tmp_path / "out" / "results")["status"].to_pylist()
    assert sorted(statuses) == ["fetch_error", "ok"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--images", "{empty}"], "there are no images"),
        (["--images", "{empty}/nothing"], "there are no images"),
        (["--images", "{empty}/list.csv"], "cannot be read"),
        (["--images", "{images}", "--masks", "{empty}"], "no mask"),
        (["--images", "{images}", "--model", "vgg61"], "did you mean"),
        (["--images", "{images}", "--model", "squeezenet1_1", "--weights", "{empty}/w.safetensors"], "no weights file"),
        (["--images", "{images}", *QUICK, "--slots", "2"], "3 CPU slots"),
        (["--images", "{images}", *QUICK, "--slots", "4", "--network-workers", "9"], "11 CPU slots"),
        (["--images", "{images}", *QUICK, "--label", "5"], "not a class"),
        (["--images", "{images}", "--epsilon", "-1"], "epsilon must be finite and above 0"),
        (["--images", "{images}", "--method", "magic"], "choose one of"),
        ([], "give either --images"),
        (["--dataset", "ecssd"], "needs --root"),
        (["--dataset", "ecssd", "--root", "{empty}"], "ground_truth_mask"),
        (["--images", "{images}", "--split", "val"], "belong to a --dataset"),
        (["--images", "{images}", "--no-such-option", "3"], "no-such-option"),
        (["--images", "{images}", "--config", "{empty}/none.yaml"], "no settings file"),
    ],
)
def test_bad_settings_end_with_one_sentence_and_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    images, _ = write_tiny_set(tmp_path, 2)
    empty = tmp_path / "empty"
    empty.mkdir()
    filled = [argument.format(images=images, empty=empty) for argument in arguments]
    assert saliency.main([*filled, "--output", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_results_without_a_record_are_not_mixed_with_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    foreign = tmp_path / "out" / "results" / "other.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    assert saliency.main(["--images", str(images), "--output", str(tmp_path / "out"), "--method", "low-level"]) == 2
    assert "without a record" in capsys.readouterr().err
    assert foreign.exists()


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = write_tiny_set(tmp_path, 5)
    (tmp_path / "settings.yaml").write_text("model: squeezenet1_1\nweights: random\nepsilon: 0.5\n")
    arguments = ["--images", str(images), "--masks", str(masks), "--output", str(tmp_path / "out"), "--slots", "4"]
    assert saliency.main([*arguments, "--config", str(tmp_path / "settings.yaml"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "squeezenet1_1, input 224 x 224, 1000 classes" in printed
    assert "5 of" in printed
    assert "4 CPU asked, 4 available" in printed
    assert not (tmp_path / "out").exists()


def test_settings_from_toml_and_options_that_win(tmp_path: Path) -> None:
    from jobs.console.command_line import parse_settings

    path = tmp_path / "settings.toml"
    path.write_text('images = "s3://bucket/a"\nepsilon = 0.5\nrows_per_file = 7\n')
    settings, dry_run = parse_settings(
        SaliencySettings, ["--config", str(path), "--output", "x", "--rows-per-file", "9", "--dry-run"]
    )
    assert (settings.images, settings.erasure.epsilon, settings.rows_per_file, dry_run) == (
        "s3://bucket/a",
        0.5,
        9,
        True,
    )


def test_fingerprint_follows_what_changes_results(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 2)

    def fingerprint(**changes: object) -> str:
        values: dict = {"images": str(images), "output": "out", "method": "low-level"} | changes
        return make_plan(SaliencySettings(**values), FOUR_SLOTS).fingerprint

    assert fingerprint() == fingerprint(output="elsewhere", slots=9, rows_per_file=1)
    different = [
        fingerprint(),
        fingerprint(masks=str(masks)),
        fingerprint(working_size=100),
        fingerprint(method="gradient", model="squeezenet1_1", weights="random"),
        fingerprint(method="gradient", model="squeezenet1_1", weights="random", num_classes=7),
        fingerprint(refinement=SaliencyParameters().refinement.__class__(alpha=0.4)),
    ]
    assert len(set(different)) == len(different)


def test_steps_in_a_plain_loop_give_the_same_rows(finished: Path, tmp_path: Path) -> None:
    record = json.loads((finished / "out" / "_run.json").read_text())
    settings = SaliencySettings(
        images=record["settings"]["images"],
        masks=record["settings"]["masks"],
        output=str(tmp_path / "loop"),
        max_pixels=50000,
        erasure=ErasureParameters(iterations=2),
    )
    method = METHODS["clamped-erasure"]
    assert isinstance(method, NetworkMethod)
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    network = NetworkStep(NetworkPasses(classifier, method, settings.parameters))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the job's workers: another number of threads sums in another order
    for shard in range(record["shards"]):
        rows = read_shard(str(finished / "out"), shard)
        ResultStep(settings)(network(PrepareStep(settings, 64)(rows)), shard)
    torch.set_num_threads(threads)
    columns = ["image_id", "status", "label", "map_raw", "map_refined", "f_beta_refined"]
    for path in sorted((finished / "out" / "results").iterdir()):
        assert pq.read_table(path, columns=columns) == pq.read_table(
            tmp_path / "loop/results" / path.name, columns=columns
        )


def test_one_bad_image_does_not_cost_its_batch(tmp_path: Path) -> None:
    """A network that fails on a batch is asked again image by image."""
    images, _ = write_tiny_set(tmp_path, 3)
    settings = SaliencySettings(
        images=str(images), output=str(tmp_path / "out"), erasure=ErasureParameters(iterations=1)
    )
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    good = METHODS["clamped-erasure"]
    assert isinstance(good, NetworkMethod)

    def attribute(*arguments: object) -> object:
        if arguments[1].shape[0] > 1 or arguments[1][0, 0, 0, 0] == 7:  # type: ignore[attr-defined,index]
            raise RuntimeError("no")
        return good.attribute(*arguments)  # type: ignore[arg-type]

    failing = NetworkMethod("failing", attribute)  # type: ignore[arg-type]
    network = NetworkStep(NetworkPasses(classifier, failing, settings.parameters))
    plan = make_plan(SaliencySettings(images=str(images), output="x", method="low-level"), FOUR_SLOTS)
    assert plan.staged is not None
    prepared = PrepareStep(settings, 64)(pa.Table.from_batches(plan.staged.batches()))
    inputs = prepared["input"].to_pylist()
    inputs[1] = b"\7" + inputs[1][1:]
    prepared = prepared.set_column(prepared.column_names.index("input"), prepared.schema.field("input"), [inputs])
    assert network(prepared)["status"].to_pylist() == ["ok", "method_error", "ok"]


def test_duplicate_images_and_bad_labels_are_settings_errors(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    listed = tmp_path / "list.txt"
    listed.write_text(f"{images}/image 000.png\n" * 2)
    with pytest.raises(SettingsError, match="more than one row"):
        make_plan(SaliencySettings(images=str(listed), output=str(tmp_path / "o"), method="low-level"), FOUR_SLOTS)


@pytest.mark.parametrize(
    ("gpus", "workers", "share"), [(0, 2, 0.0), (4, 2, 1.0), (2, 2, 1.0), (2, 4, 0.5), (1, 3, 1 / 3)]
)
def test_network_workers_share_gpus(gpus: int, workers: int, share: float, tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    arguments = {"images": str(images), "output": str(tmp_path / "out"), "model": "squeezenet1_1", "weights": "random"}
    settings = SaliencySettings(**arguments, network_workers=workers)  # type: ignore[arg-type]
    assert make_plan(settings, Cluster(None, 8, gpus)).gpu_share == pytest.approx(share)


def test_gpus_that_cannot_be_shared_evenly_are_refused(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    settings = SaliencySettings(images=str(images), output=str(tmp_path / "out"), network_workers=3)
    with pytest.raises(SettingsError, match="3 network workers cannot share 2 GPUs evenly: give a multiple of 2"):
        make_plan(settings, Cluster(None, 8, 2))


def test_production_plan_with_a_logical_gpu(tmp_path: Path) -> None:
    """Two network workers share a GPU; a logical one gives the same plan on any machine."""
    images, masks = write_tiny_set(tmp_path, 9)
    arguments = ["--images", str(images), "--masks", str(masks), "--output", str(tmp_path / "out"), *QUICK]
    settings, _ = parse_settings(SaliencySettings, [*arguments, "--network-workers", "2"])
    plan = make_plan(settings, Cluster(address=None, slots=4, gpus=1))
    assert plan.gpu_share == 0.5
    assert driver.run(plan).summary.counts == {"ok": 9}
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_help_groups_the_options_by_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        saliency.main(["--help"])
    titles = [line.strip("╭╮─ ") for line in capsys.readouterr().out.splitlines() if line.startswith("╭")]
    assert titles[:6] == ["Parameters", "Input", "Method", "Network", "Cluster", "Run"]
