"""Starting a run again: resume, retry, extend, overwrite, and being cut off anywhere in between."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import saliency
from jobs.console.command_line import parse_settings
from jobs.pipeline import driver
from jobs.run.claim import Holder
from jobs.run.status import run_status
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from tests.support.plain_pipeline import use_plain_pipeline
from tests.support.tiny_set import write_tiny_set


class Killed(BaseException):
    """What stands for the death of a driver: nothing handles it."""


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    use_plain_pipeline(monkeypatch)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    images, _ = write_tiny_set(tmp_path, 7)
    return images


def arguments(images: Path, output: Path, *options: str) -> list[str]:
    paths = ["--images", str(images), "--output", str(output)]
    return [*paths, "--method", "low-level", "--rows-per-file", "2", "--working-size", "16", *options]


def rows_of(output: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(output / "results").to_pylist()
    by_name = {Path(row["image_uri"]).name: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def stamps(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (output / "results").iterdir()}


def record_of(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "_run.json").read_text())
    return content


def without_times(table: pa.Table) -> pa.Table:
    return table.drop_columns([name for name in table.column_names if name.startswith("seconds_")])


class Mortal:
    """Kills the driver at its n-th change of the storage: before, or just after it; a dead one changes no more."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, after: bool) -> None:
        self.changes = 0
        self.at = at
        self.after = after
        self.is_dead = False
        self._lock = threading.Lock()
        for name in ("write_bytes", "remove_tree"):
            patch.setattr(storage, name, self._mortal(getattr(storage, name)))

    def _mortal(self, change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: Any) -> None:
            with self._lock:
                self.changes += 1
                if self.changes == self.at and self.after:
                    change(*arguments)
                if self.changes >= self.at:
                    self.is_dead = True
                    raise Killed
            change(*arguments)

        return changed


def killed_everywhere(
    prepare: Callable[[Path], None], command: Callable[[Path], list[str]], tmp_path: Path
) -> Iterator[Path]:
    """Kill the command at every change of the storage that it makes; yield the outputs that are left."""
    at = 0
    while True:
        at += 1
        for after in (False, True):
            output = tmp_path / f"killed {at} {after}"
            prepare(output)
            with pytest.MonkeyPatch.context() as patch:
                mortal = Mortal(patch, at, after)
                try:
                    code = saliency.main(command(output))
                except Killed:
                    code = None
            if code is not None and not mortal.is_dead:
                assert code == 0
                assert at > 4
                return
            # The driver of this test's process is dead, although the process lives.
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Holder, "runs", False)
                yield output


def test_killed_anywhere_a_new_run_is_finished_by_the_same_command(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    assert saliency.main(arguments(images, whole)) == 0
    expected = without_times(pq.read_table(whole / "results"))
    seen = set()
    for output in killed_everywhere(lambda _: None, lambda path: arguments(images, path), tmp_path):
        there = {path.name for path in output.iterdir()} if output.exists() else set()
        seen.add(frozenset(there))
        assert "_SUCCESS" not in there or len(rows_of(output)) == 7
        before = stamps(output) if (output / "results").exists() else {}
        assert saliency.main(arguments(images, output)) == 0
        assert before.items() <= stamps(output).items()
        assert without_times(pq.read_table(output / "results")) == expected
        assert record_of(output)["counts"] == {"ok": 7}
        assert (output / "_SUCCESS").exists()
        assert not (output / "_claim.json").exists() or "_SUCCESS" in there
    assert len(seen) >= 5


def test_killed_anywhere_an_overwrite_is_finished_by_its_command_and_loses_nothing_silently(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(output: Path) -> None:
        assert saliency.main(arguments(images, output)) == 0

    refusals = 0
    for output in killed_everywhere(
        prepare, lambda path: arguments(images, path, "--overwrite", "--alpha", "0.5"), tmp_path
    ):
        capsys.readouterr()
        was_whole = (output / "_SUCCESS").exists() and record_of(output)["settings"]["refinement"]["alpha"] != 0.5
        code = saliency.main(arguments(images, output))
        if code == 2:
            error = capsys.readouterr().err
            # Either the mark of the overwrite is there, or the new run's record.
            assert "--overwrite of" in error or "alpha" in error
            refusals += 1
            assert saliency.main(arguments(images, output, "--overwrite", "--alpha", "0.5")) == 0
            assert record_of(output)["settings"]["refinement"]["alpha"] == 0.5
        elif was_whole:
            assert "nothing to do" in capsys.readouterr().out
        assert len(rows_of(output)) == 7
        assert record_of(output)["counts"] == {"ok": 7}
        assert not (output / "_overwrite.json").exists()
    assert refusals > 6


def test_killed_anywhere_an_extension_leaves_a_run_that_goes_on(images: Path, tmp_path: Path) -> None:
    hidden = [images / "image 001.png", images / "image 005.png"]

    def prepare(output: Path) -> None:
        for path in hidden:
            path.rename(path.with_suffix(".later"))
        assert saliency.main(arguments(images, output)) == 0
        for path in hidden:
            path.with_suffix(".later").rename(path)

    for output in killed_everywhere(prepare, lambda path: arguments(images, path, "--extend"), tmp_path):
        before = without_times(pq.read_table(output / "results")).sort_by("image_id")
        assert saliency.main(arguments(images, output)) == 0
        assert len(rows_of(output)) in (5, 7)
        assert saliency.main(arguments(images, output, "--extend")) == 0
        assert len(rows_of(output)) == 7
        after = without_times(pq.read_table(output / "results")).sort_by("image_id")
        kept = after.filter(pa.compute.is_in(after["image_id"], before["image_id"].combine_chunks()))
        assert kept == before
        assert record_of(output)["counts"] == {"ok": 7}


def test_an_extended_run_equals_a_new_one_and_knows_its_images(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    late = images / "image 003.png"
    late.rename(tmp_path / late.name)
    assert saliency.main(arguments(images, output, "--extend")) == 2
    assert "there is no run at" in capsys.readouterr().err
    assert saliency.main(arguments(images, output)) == 0
    before = stamps(output)
    assert saliency.main(arguments(images, output, "--extend")) == 0
    assert "nothing to do" in capsys.readouterr().out
    (tmp_path / late.name).rename(late)
    assert saliency.main(arguments(images, output)) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert saliency.main(arguments(images, output, "--extend", "--dry-run")) == 0
    assert "extend    1 new images" in capsys.readouterr().out
    assert (output / "_SUCCESS").exists()
    assert saliency.main(arguments(images, output, "--extend")) == 0
    assert before.items() <= stamps(output).items()
    assert set(stamps(output)) - set(before) == {"part-00000100.parquet"}
    assert saliency.main(arguments(images, whole)) == 0
    one, other = (pq.read_table(path / "results").sort_by("image_id") for path in (output, whole))
    assert without_times(one) == without_times(other)
    for name in ("images", "manifest_sha256", "fingerprint", "counts", "masks"):
        assert record_of(output)[name] == record_of(whole)[name]
    assert record_of(output)["starts"] == 2


def test_retry_does_failed_rows_again_and_no_others(images: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out", tmp_path / "whole"
    assert saliency.main(arguments(images, whole)) == 0
    gone, broken = images / "image 002.png", images / "image 004.png"
    good = broken.read_bytes()
    gone.rename(tmp_path / "gone")
    (tmp_path / "list.txt").write_text("".join(f"{images}/image 00{index}.png\n" for index in range(7)))
    broken.write_bytes(b"no image")
    options = arguments(tmp_path / "list.txt", output)
    assert saliency.main(options) == 0
    assert record_of(output)["counts"] == {"ok": 5, "fetch_error": 1, "decode_error": 1}
    before, rows = stamps(output), rows_of(output)

    (tmp_path / "gone").rename(gone)
    broken.write_bytes(good)
    assert saliency.main([*options, "--retry-statuses", "fetch_error"]) == 0
    after = stamps(output)
    assert {name for name in after if after[name] != before[name]} == {"part-00000001.parquet"}
    assert {name: row["status"] for name, row in rows_of(output).items() if row["status"] != "ok"} == {
        "image 004.png": "decode_error"
    }
    assert record_of(output)["counts"] == {"ok": 6, "decode_error": 1}

    assert saliency.main([*options, "--retry-errors"]) == 0
    assert record_of(output)["counts"] == {"ok": 7}
    assert without_times(pq.read_table(output / "results")) == without_times(pq.read_table(whole / "results"))
    assert rows_of(output)["image 003.png"] == rows["image 003.png"]  # beside one that was done again; its times too
    before = stamps(output)
    assert saliency.main([*options, "--retry-errors"]) == 0
    assert stamps(output) == before


def test_retry_while_unfinished_and_a_row_that_fails_again(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (images / "image 000.png").write_bytes(b"no image")
    assert saliency.main(arguments(images, output)) == 0
    (output / "_SUCCESS").unlink()
    (output / "results" / "part-00000003.parquet").unlink()
    assert saliency.main(arguments(images, output, "--retry-errors")) == 0
    assert record_of(output)["counts"] == {"ok": 6, "decode_error": 1}
    assert len(rows_of(output)) == 7


def test_retry_keeps_maps_that_are_there(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 2)
    (masks / "image 000.png").write_bytes(b"no mask")
    options = arguments(images, tmp_path / "out", "--masks", str(masks))
    assert saliency.main(options) == 0
    before = rows_of(tmp_path / "out")["image 000.png"]
    assert (before["status"], before["map_saliency"] is None) == ("mask_error", False)
    (images / "image 000.png").rename(tmp_path / "away.png")
    assert saliency.main([*options, "--retry-errors"]) == 0
    assert rows_of(tmp_path / "out")["image 000.png"] == before
    assert record_of(tmp_path / "out")["counts"] == {"ok": 1, "mask_error": 1}


def test_killed_anywhere_a_retry_keeps_one_row_an_image(images: Path, tmp_path: Path) -> None:
    broken = [images / "image 001.png", images / "image 004.png"]
    good = [path.read_bytes() for path in broken]

    def prepare(output: Path) -> None:
        for path in broken:
            path.write_bytes(b"no image")
        assert saliency.main(arguments(images, output)) == 0
        for path, content in zip(broken, good, strict=True):
            path.write_bytes(content)

    for output in killed_everywhere(prepare, lambda path: arguments(images, path, "--retry-errors"), tmp_path):
        assert len(rows_of(output)) == 7
        assert saliency.main(arguments(images, output)) == 0
        statuses = [row["status"] for row in rows_of(output).values()]
        assert record_of(output)["counts"] == {status: statuses.count(status) for status in set(statuses)}
        assert saliency.main(arguments(images, output, "--retry-errors")) == 0
        assert record_of(output)["counts"] == {"ok": 7}


@pytest.mark.parametrize("damage", ["missing", "cut", "of another run", "counts wrong"])
def test_the_sums_are_made_anew_where_the_file_of_them_is_no_good(images: Path, tmp_path: Path, damage: str) -> None:
    output = tmp_path / "out"
    masks = ["--masks", str(images.parent / "masks")]
    assert saliency.main(arguments(images, output, *masks)) == 0
    expected = record_of(output)
    progress = output / "_progress.json"
    content = json.loads(progress.read_text())
    if damage == "missing":
        progress.unlink()
    elif damage == "cut":
        progress.write_bytes(progress.read_bytes()[:100])
    elif damage == "of another run":
        (output / "results" / "part-00000001.parquet").unlink()
    else:
        content["summary"]["counts"]["ok"] = 12
        progress.write_text(json.dumps(content))
    (output / "_SUCCESS").unlink()
    assert saliency.main(arguments(images, output, *masks)) == 0
    found = record_of(output)
    assert found["counts"] == expected["counts"]
    assert found["scores"]["saliency"] == pytest.approx(expected["scores"]["saliency"], rel=1e-12)
    assert found["seconds_per_stage"].keys() == expected["seconds_per_stage"].keys()


def test_results_removed_from_a_finished_run_are_done_again(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    (output / "results" / "part-00000002.parquet").unlink()
    assert saliency.main(arguments(images, output)) == 0
    assert len(rows_of(output)) == 7
    assert (output / "_SUCCESS").exists()


def test_a_run_goes_on_with_its_manifest_and_lists_nothing(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    (output / "_SUCCESS").unlink()
    (output / "results" / "part-00000000.parquet").unlink()
    (images / "image 000.png").unlink()
    (images / "new.png").write_bytes((images / "image 001.png").read_bytes())
    assert saliency.main(arguments(images, output)) == 0
    assert record_of(output)["counts"] == {"ok": 6, "fetch_error": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--overwrite", "--extend"], "only one"),
        (["--overwrite", "--retry-errors"], "only one"),
        (["--retry-statuses", "ok"], "no row fails with 'ok'"),
        (["--retry-errors"], "there is no run at"),
    ],
)
def test_wrong_options(
    images: Path, tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert saliency.main(arguments(images, tmp_path / "out", *options)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failed_start_says_why_in_the_status(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"

    def fail(shard: int) -> None:
        if shard == 2:
            raise OSError("the disk s3://me:secret@bucket/x is full")

    with pytest.MonkeyPatch.context() as patch:
        use_plain_pipeline(patch, fail)
        assert saliency.main(arguments(images, output)) == 1
    said = capsys.readouterr().err
    (trace,) = (output / "_errors").iterdir()
    assert said == (
        f"error: the run is incomplete: OSError: the disk s3://bucket/x is full; the traceback is in {trace}\n"
    )
    text = trace.read_text()
    assert text.startswith("Traceback (most recent call last)")
    assert "in fail" in text
    assert "me:secret" not in text
    status = run_status(str(output))
    assert (status.state, status.done, status.error) == ("unfinished", 4, "OSError: the disk s3://bucket/x is full")
    with pytest.MonkeyPatch.context() as patch:
        use_plain_pipeline(patch, fail)
        assert saliency.main(arguments(images, output, "--verbose")) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last)")
    assert "me:secret" not in said
    assert saliency.main(arguments(images, output)) == 0
    assert run_status(str(output)).error is None


def test_what_one_does_between_plan_and_claim_is_seen(images: Path, tmp_path: Path) -> None:
    """A second driver that planned a new run, and got its turn when the first had finished, does nothing."""
    output = tmp_path / "out"
    settings, _ = parse_settings(SaliencySettings, arguments(images, output))
    plan = saliency.prepare_run(settings)
    assert saliency.main(arguments(images, output)) == 0
    before = stamps(output)
    os.utime(images)
    assert driver.run(plan).summary.counts == {"ok": 7}
    assert stamps(output) == before
