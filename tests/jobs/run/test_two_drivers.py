"""Two drivers of one output where the store delivers late, unanswered or twice; and workers of a driver that has lost.

Shortened times, a real S3 server, and a proxy before it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import saliency
from jobs.console.command_line import parse_settings
from jobs.errors import ClaimLostError
from jobs.pipeline.results import ResultStep
from jobs.pipeline.steps import ShardSteps
from jobs.run import claim
from jobs.run.claim import Claim, Holder, ask_to_stop, read_claim
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from jobs.storage import retries
from tests.support.faulty_proxy import Faults, faulty_proxy
from tests.support.plain_pipeline import use_plain_pipeline
from tests.support.s3_server import S3Server
from tests.support.tiny_set import write_tiny_set


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(claim, "SETTLE_SECONDS", 0.2)
    monkeypatch.setattr(claim, "LEASE_SECONDS", 6.0)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    # As a driver on another machine, whose process cannot be looked at.
    monkeypatch.setattr(Holder, "runs", None)


@contextmanager
def bad_server(server: S3Server, faults: Faults) -> Iterator[str]:
    """In the block, all S3 goes through a proxy; yields a bucket."""
    s3 = fsspec.get_filesystem_class("s3")
    with faulty_proxy(server.endpoint, faults) as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in (server.environment() | {"AWS_ENDPOINT_URL": endpoint}).items():
            patch.setenv(name, value)
        s3.clear_instance_cache()  # a client keeps the endpoint that it was made with
        if not storage.exists("s3://drivers/"):
            server.make_bucket("drivers")
        yield "s3://drivers"
    s3.clear_instance_cache()


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_late_beat_does_not_take_the_output_back(s3_server: S3Server) -> None:
    """A driver whose beats do not arrive stops at half its lease; what was under way finds another's claim."""
    faults = Faults(only="PUT", kinds=("late",))
    ended = threading.Event()
    with bad_server(s3_server, faults) as bucket:
        output = f"{bucket}/late"
        with Claim(output, on_end=ended.set) as first:
            faults.fail = 1.0
            began = time.monotonic()
            assert ended.wait(60)
            assert time.monotonic() - began < claim.LEASE_SECONDS
            assert first.is_lost
            with pytest.raises(ClaimLostError, match="could not renew its claim"):
                first.check()
            faults.fail = 0.0
            late = faults.counts["late"]
            assert late
            with Claim(output) as second:
                faults.release.set()
                wait_until(lambda: len(faults.delivered) == late)
                assert set(faults.delivered) == {"412"}
                holder = read_claim(output)
                assert holder is not None
                assert holder.token == second.token
                second.check()
        assert read_claim(output) is None  # the second's own; the first has left it alone


def test_lost_answers_and_repeated_beats_change_nothing(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "LEASE_SECONDS", 40.0)
    faults = Faults(only="_claim.json", kinds=("unanswered", "twice"), seed=2)
    with bad_server(s3_server, faults) as bucket, Claim(f"{bucket}/again") as mine:
        faults.fail = 0.5
        wait_until(lambda: faults.counts["unanswered"] >= 3 and faults.counts["twice"] >= 3)
        faults.fail = 0.0
        found = read_claim(f"{bucket}/again")
        assert found is not None
        wait_until(lambda: (read_claim(f"{bucket}/again") or found).beats > found.beats)
        before = len(faults.delivered)
        faults.release.set()
        wait_until(lambda: len(faults.delivered) == 2 * faults.counts["twice"] + faults.counts["unanswered"])
        later = read_claim(f"{bucket}/again")
        assert later is not None
        assert later.beats > found.beats
        assert later.token == mine.token
        assert not any(code.startswith("5") for code in faults.delivered[before:])
        mine.check()


def test_a_store_that_is_silent_for_a_while_does_not_end_a_driver(s3_server: S3Server) -> None:
    faults = Faults(only="_claim.json", stall_seconds=600)
    with bad_server(s3_server, faults) as bucket, Claim(f"{bucket}/silent") as mine:
        found = read_claim(f"{bucket}/silent")
        assert found is not None
        faults.stall = 1.0
        wait_until(lambda: faults.counts["stall"] >= 2)
        faults.stall = 0.0
        wait_until(lambda: (read_claim(f"{bucket}/silent") or found).beats > found.beats + 2)
        mine.check()


def test_a_driver_is_asked_to_stop_and_no_other_is(tmp_path: Path) -> None:
    ended = threading.Event()
    ask_to_stop(str(tmp_path), "of another", "somebody")
    with Claim(str(tmp_path), on_end=ended.set) as mine:
        wait_until(lambda: (read_claim(str(tmp_path)) or mine._holder).beats > 2)
        assert mine.stop_request is None
        ask_to_stop(str(tmp_path), mine.token, "somebody")
        assert ended.wait(30)
        assert (mine.stop_request or "").startswith("somebody asked it to stop at 20")
        assert not mine.is_lost
    assert not (tmp_path / "_stop.json").exists()


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_plain_pipeline(monkeypatch)
    images, _ = write_tiny_set(tmp_path, 6)
    return images


def arguments(images: Path, output: Path, *options: str) -> list[str]:
    paths = ["--images", str(images), "--output", str(output)]
    return [*paths, "--method", "low-level", "--rows-per-file", "2", "--working-size", "16", *options]


def test_a_worker_looks_at_the_claim_right_before_it_writes(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    finish = ResultStep._finish

    def taken_over_meanwhile(self: ResultStep, row: dict[str, Any]) -> dict[str, Any]:
        storage.write_bytes(f"{output}/_claim.json", Holder.new().to_bytes())
        return finish(self, row)

    monkeypatch.setattr(ResultStep, "_finish", taken_over_meanwhile)
    assert saliency.main(arguments(images, output)) == 1
    assert not (output / "results").exists()


def test_what_an_overwritten_runs_worker_still_writes_is_no_part_of_the_new_one(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    stale: list[tuple[ShardSteps, pa.Table]] = []

    def take_one_away(shard: int) -> None:
        if shard == 1:
            settings, _ = parse_settings(SaliencySettings, arguments(images, output))
            steps = ShardSteps(settings, None, frozenset(), "", "token")
            stale.append((steps, steps.prepare(2)))

    use_plain_pipeline(monkeypatch, take_one_away)
    assert saliency.main(arguments(images, output)) == 0
    old = pq.read_table(output / "results" / "part-00000002.parquet")["map_saliency"]

    def write_late(shard: int) -> None:
        if shard == 1:
            steps, prepared = stale[0]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ShardSteps, "_check_claim", lambda self: None)  # it had looked long before
                steps.finish(prepared, 2)
            assert (output / "results" / "part-00000002.parquet").exists()

    use_plain_pipeline(monkeypatch, write_late)
    assert saliency.main(arguments(images, output, "--overwrite", "--alpha", "0.1", "--colour-sigma", "3")) == 0
    names = [path.name for path in (output / "results").iterdir()]
    assert len(names) == 3
    assert len({name.removesuffix(".parquet").split("-")[2] for name in names}) == 1
    (new,) = (output / "results").glob("part-00000002-*.parquet")
    assert pq.read_table(new)["map_saliency"] != old
    assert saliency.main(arguments(images, output, "--alpha", "0.1", "--colour-sigma", "3")) == 0
