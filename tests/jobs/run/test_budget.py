"""A run in which most images failed has not succeeded: exit codes, the mark of success, going on."""

import json
from pathlib import Path

import pytest

from jobs import saliency
from jobs.errors import TooManyFailedError
from jobs.run import budget
from jobs.run.budget import FailureBudget, failure_warning, too_many_failed
from jobs.run.status import run_status
from jobs.run.summary import Summary
from tests.support.plain_pipeline import use_plain_pipeline
from tests.support.tiny_set import write_tiny_set


def summary(ok: int, *failures: str) -> Summary:
    found = Summary(())
    found.counts.update({"ok": ok, "fetch_error": len(failures)})
    found.reasons.update(failures)
    return found


def listed(images: Path, folder: Path, count: int) -> tuple[Path, list[str]]:
    names = folder / "list.txt"
    names.write_text("".join(f"{images}/image {index:03d}.png\n" for index in range(count)))
    options = ["--images", str(names), "--output", str(folder / "out"), "--method", "low-level"]
    return folder / "out", [*options, "--rows-per-file", "2", "--working-size", "16"]


def test_where_nearly_all_failed_the_run_ends_with_three_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_plain_pipeline(monkeypatch)
    images, _ = write_tiny_set(tmp_path, 5)
    output, arguments = listed(images, tmp_path, 5)
    images.rename(tmp_path / "away")
    assert saliency.main(arguments) == 3
    error = capsys.readouterr().err
    assert "5 of 5 images failed (100.0 %), 5 of them for one reason: fetch_error (FileNotFoundError)" in error
    assert "--retry-errors" in error
    assert not (output / "_SUCCESS").exists()
    assert json.loads((output / "_run.json").read_text())["state"] == "too many failed"
    assert run_status(str(output)).state == "failed"
    assert saliency.main(arguments) == 3  # again, without work
    (tmp_path / "away").rename(images)
    assert saliency.main([*arguments, "--retry-errors"]) == 0
    assert (output / "_SUCCESS").exists()
    assert run_status(str(output)).counts == {"ok": 5}


def test_a_run_may_be_allowed_more_or_less_and_says_so_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_plain_pipeline(monkeypatch)
    images, _ = write_tiny_set(tmp_path, 4)
    (images / "image 001.png").write_bytes(b"no image")
    output, arguments = listed(images, tmp_path, 4)
    assert saliency.main([*arguments, "--most-failed", "0.2"]) == 3
    assert "no more than 20 % may" in capsys.readouterr().err
    assert saliency.main(arguments) == 0  # the same rows are within the usual bounds
    error = capsys.readouterr().err
    assert error.startswith("warning: 1 of 4 images failed (25.0 %), 1 of them for one reason: decode_error (")
    assert (output / "_SUCCESS").exists()
    assert saliency.main([*arguments, "--most-failed", "2"]) == 2


def test_a_run_that_fails_for_one_reason_is_stopped_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_plain_pipeline(monkeypatch)
    monkeypatch.setattr(budget, "FIRST_IMAGES", 6)
    images, _ = write_tiny_set(tmp_path, 10)
    output, arguments = listed(images, tmp_path, 10)
    images.rename(tmp_path / "away")
    assert saliency.main(arguments) == 3
    assert "stopped early: 4 of the first 4 images failed for one reason" in capsys.readouterr().err
    assert len(list((output / "results").iterdir())) == 2
    assert "stopped early" in (run_status(str(output)).error or "")
    (tmp_path / "away").rename(images)
    assert saliency.main([*arguments, "--retry-errors"]) == 0
    assert run_status(str(output)).counts == {"ok": 10}


def test_different_reasons_later_images_and_short_runs_stop_nothing() -> None:
    different = FailureBudget(0.5, 5000)
    for number in range(100):
        different.add(summary(0, *(f"reason {number % 3}" for _ in range(10))))
    later = FailureBudget(0.5, 5000)
    later.add(summary(1000))
    later.add(summary(0, *["gone"] * 900))
    short = FailureBudget(0.5, 1000)
    short.add(summary(0, *["gone"] * 1000))
    with pytest.raises(TooManyFailedError, match="501 of the first 501"):
        FailureBudget(0.5, 1001).add(summary(0, *["gone"] * 501))
    FailureBudget(0.9, 5000).add(summary(0, *["gone"] * 900))
    assert too_many_failed(summary(5, *["gone"] * 5), 0.5) is None
    assert too_many_failed(summary(4, *["gone"] * 5), 0.5) is not None
    assert failure_warning(summary(90, *["gone"] * 10)) is None
    assert failure_warning(summary(89, *["gone"] * 11)) is not None
