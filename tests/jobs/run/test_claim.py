"""One driver at a time: claims of the living, the dead and the lost, on disk, on S3 and where nothing is atomic."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from jobs import saliency, status
from jobs.errors import ClaimedError, ClaimLostError
from jobs.run import claim
from jobs.run.claim import Claim, Holder, check_claim, read_claim
from jobs.run.status import run_status
from jobs.storage import files as storage
from tests.support.plain_pipeline import use_plain_pipeline
from tests.support.s3_server import S3Server
from tests.support.tiny_set import write_tiny_set


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(claim, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(claim, "SETTLE_SECONDS", 0.05)


@pytest.fixture(params=["local", "memory", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "out")
    elif request.param == "memory":
        yield f"memory://claims/{tmp_path.name}"
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        if not storage.exists("s3://claims/"):
            server.make_bucket("claims")
        monkeypatch.setattr(claim, "SETTLE_SECONDS", 0.5)
        monkeypatch.setattr(claim, "LEASE_SECONDS", 6.0)
        yield f"s3://claims/{tmp_path.name}"


def elsewhere(**changes: object) -> Holder:
    """A driver on another machine, whose process cannot be looked at."""
    return dataclasses.replace(Holder.new(), **({"host": "far-away", "machine": ""} | changes))  # type: ignore[arg-type]


def put(output: str, holder: Holder) -> None:
    storage.write_bytes(f"{output}/_claim.json", holder.to_bytes())


def test_a_claim_is_there_as_long_as_the_block_and_beats(output: str) -> None:
    with Claim(output) as first:
        found = read_claim(output)
        assert found is not None
        assert (found.token, found.pid) == (first.token, os.getpid())
        check_claim(output, first.token)
        with pytest.raises(ClaimedError, match=rf"another driver works on .*process {os.getpid()} on .*, since 20"):
            Claim(output).__enter__()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (read_claim(output) or found).beats < 2:
            time.sleep(0.05)
        later = read_claim(output)
        assert later is not None
        assert later.beats >= 2
        assert later.since == found.since
        first.check()
    assert read_claim(output) is None
    with pytest.raises(ClaimLostError):
        check_claim(output, first.token)


def test_of_many_that_start_at_once_one_gets_it(output: str) -> None:
    claims = [Claim(output) for _ in range(6)]
    barrier = threading.Barrier(len(claims))

    def start(one: Claim) -> bool:
        barrier.wait()
        try:
            one.__enter__()
        except ClaimedError:
            return False
        return True

    with ThreadPoolExecutor(len(claims)) as threads:
        got = list(threads.map(start, claims))
    assert got.count(True) == 1
    winner = claims[got.index(True)]
    winner.check()
    winner.__exit__(None, None, None)
    assert read_claim(output) is None


@pytest.mark.parametrize("condition", ["refused", "ignored"])
def test_stores_without_conditions(condition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = type(fsspec.filesystem("memory"))
    plain = store.pipe_file

    def pipe_file(self: object, path: str, value: bytes, mode: str = "overwrite", **more: object) -> None:
        if mode == "create" and condition == "refused":
            raise NotImplementedError
        plain(self, path, value, mode="overwrite", **more)

    monkeypatch.setattr(store, "pipe_file", pipe_file)
    monkeypatch.setattr(claim, "SETTLE_SECONDS", 0.4)
    test_of_many_that_start_at_once_one_gets_it(f"memory://claims/{condition}/{tmp_path.name}")


def test_a_silent_driver_elsewhere_is_watched_and_then_replaced(output: str) -> None:
    put(output, elsewhere())
    told: list[str] = []
    started = time.monotonic()
    with Claim(output, told.append) as mine:
        assert time.monotonic() - started >= claim.LEASE_SECONDS
        mine.check()
    assert len(told) == 1
    assert "far-away" in told[0]


def test_a_living_driver_elsewhere_is_left_alone(tmp_path: Path) -> None:
    output = str(tmp_path)
    holder = elsewhere(beat=datetime.now(UTC) - timedelta(seconds=30))  # a clock that is behind, or a late beat
    put(output, holder)
    beat = threading.Timer(0.3, put, (output, holder.beating()))
    beat.start()
    with pytest.raises(ClaimedError, match="far-away"):
        Claim(output).__enter__()
    beat.join()
    found = read_claim(output)
    assert found is not None
    assert found.token == holder.token


@pytest.mark.parametrize("kind", ["another process", "a process that has ended", "long ago", "damaged"])
def test_the_dead_are_not_waited_for(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "LEASE_SECONDS", 60.0)
    here = Holder.new()
    with subprocess.Popen(["true"]) as process:
        process.wait()
    holders = {
        "another process": dataclasses.replace(here, born=here.born - 1000),  # the number was given again
        "a process that has ended": dataclasses.replace(here, pid=process.pid),
        "long ago": elsewhere(beat=datetime.now(UTC) - timedelta(hours=1)),
    }
    if kind in holders:
        put(str(tmp_path), holders[kind])
    else:
        (tmp_path / "_claim.json").write_text('{"token": ')
    started = time.monotonic()
    with Claim(str(tmp_path)) as mine:
        mine.check()
    assert time.monotonic() - started < 10


def test_a_process_that_lives_but_does_not_beat_is_watched(tmp_path: Path) -> None:
    put(str(tmp_path), dataclasses.replace(Holder.new(), beat=datetime.now(UTC) - timedelta(seconds=30)))
    with Claim(str(tmp_path)) as mine:
        mine.check()


def test_a_driver_learns_that_it_has_lost_and_leaves_the_others_claim(output: str) -> None:
    lost = threading.Event()
    with Claim(output, on_end=lost.set) as mine:
        other = elsewhere()
        # The beat that was under way may come later than the other's claim.
        while not lost.wait(1.0):
            put(output, other)
        assert mine.is_lost
        with pytest.raises(ClaimLostError, match="far-away"):
            mine.check()
        with pytest.raises(ClaimLostError, match="far-away"):
            check_claim(output, mine.token)
    found = read_claim(output)
    assert found is not None
    assert found.token == other.token


def test_storage_that_is_away_for_a_while_does_not_end_a_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Claim(str(tmp_path)) as mine:
        with pytest.MonkeyPatch.context() as patch:

            def fail(*_: object) -> None:
                raise TimeoutError

            patch.setattr(storage, "read_bytes", fail)
            time.sleep(0.3)
        found = read_claim(str(tmp_path))
        time.sleep(0.3)
        later = read_claim(str(tmp_path))
        assert found is not None
        assert later is not None
        assert later.beats > found.beats
        mine.check()


# Drivers in processes of their own.


def arguments(images: Path, output: Path, *options: str) -> list[str]:
    paths = ["--images", str(images), "--output", str(output)]
    return [*paths, "--method", "low-level", "--rows-per-file", "1", "--working-size", "16", *options]


def start_driver(seconds: float, options: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.plain_driver", str(seconds), *options],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(process: "subprocess.Popen[str]", start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    pytest.fail(f"the driver ended: {process.communicate()}")


@pytest.mark.slow
def test_two_drivers_on_one_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second is refused whatever it was asked, and harms nothing; after the first was killed it goes on."""
    use_plain_pipeline(monkeypatch)
    images, _ = write_tiny_set(tmp_path, 6)
    output = tmp_path / "out"
    first = start_driver(1.0, arguments(images, output))
    try:
        wait_for_line(first, "shard 1")
        for options in ([], ["--overwrite"], ["--retry-errors"], ["--extend"]):
            assert saliency.main(arguments(images, output, *options)) == 2
            error = capsys.readouterr().err
            assert f"another driver works on {output} (process {first.pid} on" in error
            assert error.count("\n") == 1
        assert saliency.main(arguments(images, output, "--dry-run")) == 0
        assert (output / "results" / "part-00000000.parquet").exists()
        wait_for_line(first, "shard 3")
    finally:
        first.kill()
        first.communicate()
    assert (output / "_claim.json").exists()
    assert not (output / "_SUCCESS").exists()
    before = {path.name: path.stat().st_mtime_ns for path in (output / "results").iterdir()}
    assert len(before) == 3
    assert saliency.main(arguments(images, output)) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (output / "results").iterdir()}
    assert before.items() <= after.items()
    assert pq.read_table(output / "results").num_rows == 6
    assert not (output / "_claim.json").exists()


@pytest.mark.slow
def test_a_driver_that_lost_its_claim_stops_and_one_that_is_stopped_gives_it_back(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 3)
    output = tmp_path / "out"
    driver = start_driver(60.0, arguments(images, output))
    try:
        wait_for_line(driver, "shard 0")
        other = elsewhere()
        deadline = time.monotonic() + 30
        while driver.poll() is None and time.monotonic() < deadline:
            put(str(output), other)
            time.sleep(1.0)
        _, error = driver.communicate(timeout=30)
    finally:
        driver.kill()
    assert driver.returncode == 1
    assert "this driver has lost" in error
    assert "far-away" in error
    assert not list((output / "results").glob("*")) if (output / "results").exists() else True
    (output / "_claim.json").unlink()
    for number, code, word in (
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGINT, 130, "interrupted"),
        (None, 143, ""),
    ):
        driver = start_driver(60.0, arguments(images, output))
        try:
            wait_for_line(driver, "shard 0")
            assert (output / "_claim.json").exists()
            if number is None:
                assert status.main(["--run", str(output), "--stop"]) == 0
                word = "asked it to stop at"
            else:
                driver.send_signal(number)
            _, error = driver.communicate(timeout=60)
        finally:
            driver.kill()
        assert driver.returncode == code
        (said,) = [line for line in error.splitlines() if line.startswith("error")]
        assert word in said
        assert "the same command goes on where it stopped" in said
        assert not (output / "_claim.json").exists()
        assert word in (run_status(str(output)).error or "")
    assert status.main(["--run", str(output), "--stop"]) == 0  # nobody works on it
