"""The whole job where things around it fail: it recovers, or ends with one sentence and goes on at the next start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from jobs import saliency
from jobs.console.failures import sentence
from jobs.errors import WriteError
from jobs.pipeline import operators as pipeline
from jobs.pipeline.attempts import MOST_PLACES, AttemptCounter
from jobs.pipeline.connecting import start_ray
from tests.support.means import skip_without
from tests.support.tiny_set import write_tiny_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers take their environment from the Ray that starts them: none of S3's here.
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nowhere")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        start_ray(address="local", num_cpus=4, include_dashboard=False)
        yield
        ray.shutdown()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 60 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60k", "none", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode != 0:
        skip_without("root", "mounting a small disk needs root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_the_next_start_finishes_it(
    small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images, _ = write_tiny_set(tmp_path, 8)
    arguments = ["--images", str(images), "--output", str(small_disk / "out"), "--method", "low-level"]
    arguments += ["--rows-per-file", "1"]
    assert saliency.main(arguments) == 1
    (said,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert "No space left on device; the same command goes on where it stopped" in said
    assert "Traceback" not in said
    assert "ray::" not in said
    results = small_disk / "out" / "results"
    kept = {path.name: path.stat().st_mtime_ns for path in results.iterdir() if path.suffix == ".parquet"}
    assert 0 < len(kept) < 8
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    # The next start has processes of its own: in those of the first, work was cut off in the middle of whatever it was.
    ray.shutdown()
    assert saliency.main(arguments) == 0
    rows = pq.read_table(results)
    assert (rows["status"].to_pylist(), rows["error"].to_pylist()) == (["ok"] * 8, [None] * 8)
    assert {path.name: path.stat().st_mtime_ns for path in results.iterdir() if path.name in kept} == kept


def test_without_credentials_the_run_ends_instead_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """First here: whoever comes later finds a Ray whose workers have not been stopped in the middle of anything."""
    (tmp_path / "list.txt").write_text("".join(f"s3://photographs/{index}.png\n" for index in range(40)))
    arguments = ["--images", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out"), "--method", "low-level"]
    counters: list[AttemptCounter] = []

    def counter() -> AttemptCounter:
        counters.append(AttemptCounter())
        return counters[-1]

    monkeypatch.setattr(pipeline, "AttemptCounter", counter)
    assert saliency.main(arguments) == 1
    begin = counters[0]._actor.begin
    tries = [ray.get(begin.remote(("prepare, surroundings", shard), ())) - 1 for shard in range(5)]
    assert max(tries) == MOST_PLACES
    (said,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert "s3://photographs cannot be used: the credentials are missing, wrong or have expired" in said
    assert "the same command goes on where it stopped" in said
    assert not (tmp_path / "out" / "results").exists()
    assert not (tmp_path / "out" / "_errors").exists()  # the sentence says all there is to say
    assert not (tmp_path / "out" / "_SUCCESS").exists()


def test_a_sentence_without_traces_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-very-secret-key")

    @ray.remote
    def fail() -> None:
        raise WriteError("cannot write s3://bucket/x: signed with a-very-secret-key\nFailed to apply UDF transform")

    @ray.remote(max_retries=0)
    def die() -> None:
        os._exit(1)

    with pytest.raises(Exception, match="cannot write") as caught:
        ray.get(fail.remote())
    assert sentence(caught.value) == (
        "cannot write s3://bucket/x: signed with ***; the same command goes on where it stopped"
    )
    with pytest.raises(ray.exceptions.WorkerCrashedError) as died:
        ray.get(die.remote())
    assert sentence(died.value).startswith("a worker process died again and again at the same work; the same command")
