"""Every broken, hostile or odd file is a row with the right status, within bounded time and memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from jobs import saliency
from jobs.pipeline.connecting import start_ray
from tests.support.bad_files import corpus, write_corpus
from tests.support.tiny_set import TINY_NETWORK

pytestmark = pytest.mark.slow


@pytest.fixture
def one_ray() -> Iterator[None]:
    start_ray(address="local", num_cpus=4, include_dashboard=False)
    yield
    ray.shutdown()


def test_the_corpus_is_the_same_every_time() -> None:
    assert list(corpus()) == list(corpus())


def test_the_whole_corpus_through_the_job(one_ray: None, tmp_path: Path) -> None:
    files = write_corpus(tmp_path)
    assert len(files) > 150
    arguments = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    arguments += ["--output", str(tmp_path / "out"), *TINY_NETWORK, "--iterations", "1"]
    assert saliency.main(arguments) == 0
    rows = pq.read_table(tmp_path / "out" / "results").to_pylist()
    assert len(rows) == len(files)
    by_name = {row["image_uri"].removeprefix(f"{tmp_path}/images/"): row for row in rows}
    wrong = {}
    for file in files:
        row = by_name[file.name]
        if row["status"] not in file.statuses:
            wrong[file.name] = (row["status"], row["error"])
        assert (row["error"] is None) == (row["status"] == "ok")
        assert (row["map_refined"] is not None) == (row["status"] in ("ok", "mask_error"))
        assert (row["mask_uri"] is not None) == (file.mask is not None)
    assert wrong == {}
    assert by_name["masks/mask empty.png"]["mask_empty"] is True
    assert by_name["masks/mask all foreground.png"]["f_beta_refined"] == pytest.approx(1.0)


def test_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """A short run of the coverage-guided fuzzer; `python -m benchmarks.studies.fuzz_decoding` runs longer."""
    pytest.importorskip("atheris", reason="atheris is there for Linux alone")
    command = [
        sys.executable,
        "-m",
        "benchmarks.studies.fuzz_decoding",
        "--seconds",
        "10",
        "--finds",
        str(tmp_path / "finds"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"crashes": 0' in done.stdout
