"""The status of a run, from its folder alone: before, while and after it runs, on disk and in a bucket."""

import dataclasses
import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from rich.console import Console

from jobs import saliency
from jobs.console.tables import print_status
from jobs.errors import SettingsError
from jobs.run import status as status_module
from jobs.run.claim import Holder
from jobs.run.results_files import read_columns
from jobs.run.status import run_status
from jobs.run.tally import TallyFile, tally_of
from jobs.status import main
from jobs.storage import files as storage
from tests.support.plain_pipeline import use_plain_pipeline
from tests.support.s3_server import S3Server
from tests.support.tiny_set import write_tiny_set


@pytest.fixture
def images(tmp_path: Path) -> Path:
    images, _ = write_tiny_set(tmp_path, 7)
    (images / "image 001.png").write_bytes(b"no image")
    (images / "image 002.png").write_bytes(b"[red]no image")
    return images


def arguments(images: Path | str, output: Path | str, *options: str) -> list[str]:
    paths = ["--images", str(images), "--output", str(output)]
    return [*paths, "--method", "low-level", "--rows-per-file", "2", "--working-size", "16", *options]


def elsewhere(seconds_ago: float) -> Holder:
    beat = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return dataclasses.replace(Holder.new(), host="far-away", machine="", beat=beat)


def printed(status: status_module.RunStatus) -> str:
    text = io.StringIO()
    print_status(status, Console(file=text, width=200, soft_wrap=True))
    return text.getvalue()


@pytest.mark.parametrize("where", ["local", "s3"])
def test_while_it_runs_and_afterwards(
    images: Path, where: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = str(tmp_path / "out")
    if where == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.make_bucket("status")
        output = "s3://status/run"
    seen: list[status_module.RunStatus] = []
    monkeypatch.setattr("jobs.run.tally.SECONDS_BETWEEN_WRITES", 0.0)
    use_plain_pipeline(monkeypatch, lambda shard: seen.append(run_status(output)))
    assert saliency.main(arguments(images, output)) == 0
    assert [status.state for status in seen] == ["running"] * 4
    assert [status.done for status in seen] == [0, 2, 4, 6]
    assert [status.images for status in seen] == [7] * 4
    assert seen[2].counts == {"ok": 2, "decode_error": 2}
    assert seen[0].images_per_second is None
    assert seen[2].images_per_second is not None
    assert seen[2].seconds_left == pytest.approx(3 / seen[2].images_per_second)
    assert seen[2].holder is not None
    assert seen[2].holder["process"] == os.getpid()
    assert [Path(image.image_uri).name for image in seen[3].failed] == ["image 002.png", "image 001.png"]
    after = run_status(output)
    assert (after.state, after.done, after.counts) == ("finished", 7, {"ok": 5, "decode_error": 2})
    assert (after.holder, after.error, after.seconds_left) == (None, None, None)
    assert after.reason.startswith("every image has its row since 20")
    assert run_status(output, most_failed=1).failures == 2
    assert len(run_status(output, most_failed=1).failed) == 1


def test_states_of_a_run_that_is_not_finished(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_plain_pipeline(monkeypatch)
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    (output / "_SUCCESS").unlink()
    (output / "results" / "part-00000003.parquet").unlink()

    def state_with(holder: Holder | None) -> tuple[str, str]:
        (output / "_claim.json").unlink(missing_ok=True)
        if holder is not None:
            storage.write_bytes(f"{output}/_claim.json", holder.to_bytes())
        status = run_status(str(output))
        return status.state, status.reason

    assert state_with(None) == ("unfinished", "nobody works on it: the same command goes on with it")
    assert state_with(elsewhere(5))[0] == "running"
    state, reason = state_with(elsewhere(300))
    assert (state, "no sign of life" in reason, "far-away" in reason) == ("stalled", True, True)
    state, reason = state_with(dataclasses.replace(Holder.new(), born=0.0))
    assert (state, reason.split(" (")[0]) == ("unfinished", "its driver has died")
    monkeypatch.setattr(status_module, "STALLED_SECONDS", 0.0)
    state, reason = state_with(elsewhere(5))
    assert (state, "nothing has been finished for" in reason) == ("stalled", True)
    assert "driver   process" in printed(run_status(str(output)))


def test_before_the_record_is_there(tmp_path: Path) -> None:
    output = str(tmp_path)
    with pytest.raises(SettingsError, match="there is no run at"):
        run_status(output)
    storage.write_bytes(f"{output}/_claim.json", elsewhere(1).to_bytes())
    status = run_status(output)
    assert (status.state, status.reason, status.done) == ("running", "making the manifest", 0)
    storage.write_bytes(f"{output}/_overwrite.json", b'{"since": "2026"}')
    assert run_status(output).reason == "removing the run that was there"
    (tmp_path / "_claim.json").unlink()
    assert run_status(output).state == "unfinished"


@pytest.mark.parametrize("damage", ["missing", "behind", "damaged"])
def test_counts_do_not_depend_on_the_drivers_sums(
    images: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_plain_pipeline(monkeypatch)
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    progress = output / "_progress.json"
    if damage == "missing":
        progress.unlink()
    elif damage == "damaged":
        progress.write_text("{")
    else:
        # As after a kill: the sums know of the first shard alone.
        progress.unlink()
        TallyFile(str(output), tally_of(str(output), "", ("saliency",), np.array([0]), 2)).write()
        assert json.loads(progress.read_text())["summary"]["counts"] == {"ok": 1, "decode_error": 1}
    status = run_status(str(output))
    assert status.counts == {"ok": 5, "decode_error": 2}
    assert len(status.failed) == 2


def test_all_failed_images_as_a_table(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_plain_pipeline(monkeypatch)
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    for name in ("failed.parquet", "failed.csv"):
        assert main(["--run", str(output), "--failed-to", str(tmp_path / name)]) == 0
    with duckdb.connect() as connection:
        query = f"select shard, status, error from '{tmp_path}/failed.parquet' order by image_uri"
        found = connection.execute(query).fetchall()
    assert [row[1] for row in found] == ["decode_error"] * 2
    assert all(row[2].startswith("DecodeError") or "Error" in row[2] for row in found)
    assert len((tmp_path / "failed.csv").read_text().splitlines()) == 3
    assert main(["--run", str(output), "--failed-to", "failed.txt"]) == 2


def test_for_a_person_and_for_a_program(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_plain_pipeline(monkeypatch)
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    capsys.readouterr()
    assert main(["--run", str(output)]) == 0
    text = capsys.readouterr().out
    assert "state    finished: every image has its row since" in text
    assert "images   7 of 7 (100.0 %)" in text
    assert "2 of 2 images that failed, the latest first:" in text
    assert f"decode_error  {images}/image 002.png  DecodeError: " in text
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert main(["--run", str(output), "--json", "--failed", "1"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["state"], found["done"], found["failures"], len(found["failed"])) == ("finished", 7, 2, 1)
    assert found["failed"][0]["status"] == "decode_error"
    assert before == {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert main(["--run", str(tmp_path / "nothing")]) == 2
    assert "there is no run at" in capsys.readouterr().err
    assert main(["--run", "nowhere://x"]) == 2
    assert main(["--run", str(output), "--failed", "-1"]) == 2


def test_only_shards_with_failures_are_opened(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_plain_pipeline(monkeypatch)
    output = tmp_path / "out"
    assert saliency.main(arguments(images, output)) == 0
    opened: list[str] = []
    read = read_columns

    def watched(file: str, columns: list[str]) -> Any:
        opened.append(Path(file).name)
        return read(file, columns)

    monkeypatch.setattr(status_module, "read_columns", watched)
    assert run_status(str(output)).failures == 2
    assert sorted(opened) == ["part-00000000.parquet", "part-00000001.parquet"]
