"""`ray job submit` to a Ray head on this machine: what a user of a running cluster types."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.support.means import skip_without
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
IMAGES = 12
HOST = "127.0.0.2"  # loopback too, and unlike 127.0.0.1 not replaced by Ray with the machine's outward address
TOKEN = secrets.token_hex(32)


@dataclass(frozen=True)
class Head:
    """A Ray head: the address of its dashboard and the folder of its session."""

    address: str
    session: Path

    def submit(self, *entrypoint: str) -> "subprocess.CompletedProcess[str]":
        """Run `ray job submit` from the root of the repository, as the documentation has it."""
        command = [
            str(BIN / "ray"),
            "job",
            "submit",
            "--address",
            self.address,
            "--working-dir",
            ".",
            "--",
            *entrypoint,
        ]
        return subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=300)

    def packages(self) -> list[Path]:
        """Return the folders in which working directories were unpacked."""
        folder = self.session / "runtime_resources" / "working_dir_files"
        return [path for path in folder.iterdir() if path.is_dir()]


def _environment() -> dict[str, str]:
    """Environment in which `python` and `ray` are those of the tests, and no other Ray is in sight."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    kept |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "OMP_NUM_THREADS": "1"}


def _descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one, by Linux's own list."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            children += [int(word) for word in task.read_text().split()]
    return children + [deeper for child in children for deeper in _descendants(child)]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a Ray by the ids of its own processes; `ray stop` would end every other Ray of the machine too."""
    for pid in [process.pid, *_descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
        skip_without("children", "needs Linux's list of child processes, to end what it starts")
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: Ray's sockets lie in it
    gcs, dashboard, agent, agent_grpc, runtime_env, client, metrics = free_ports(7)
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--include-dashboard=true"]
    command += [f"--node-ip-address={HOST}", "--dashboard-host=127.0.0.1", "--num-cpus=4", "--num-gpus=0"]
    command += [f"--port={gcs}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--dashboard-agent-grpc-port={agent_grpc}", f"--runtime-env-agent-port={runtime_env}"]
    command += [f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}"]
    command += ["--object-store-memory=200000000", f"--temp-dir={folder}"]
    log = folder / "head.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=_environment(), stdout=output, stderr=output)
    try:
        _wait_for_agent(process, agent, log)
        yield Head(f"http://127.0.0.1:{dashboard}", (folder / "session_latest").resolve())
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_agent(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait for the process that takes jobs; it is the last to come up."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.5)
    pytest.fail(f"Ray did not start: {log.read_text()}")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of a bright box on a dark, noisy ground."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(7)
    for index in range(IMAGES):
        pixels = random.integers(0, 60, (48, 64, 3), dtype=np.uint8)
        pixels[12:36, 8 + 2 * index : 28 + 2 * index] = (220, 180, 40)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    return folder


def _job(images: Path, output: Path, *options: str) -> list[str]:
    return ["python", "-m", "jobs.saliency", "--images", str(images), "--output", str(output), *options]


@pytest.fixture(scope="module")
def submitted(
    head: Head, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple["subprocess.CompletedProcess[str]", Path]:
    """One submitted job: what the command said, and where its output is."""
    output = tmp_path_factory.mktemp("submitted") / "run"
    network = ["--model", "squeezenet1_1", "--weights", "random", "--num-classes", "5", "--network-workers", "1"]
    return head.submit(*_job(images, output, *network, "--iterations", "2")), output


def test_submitted_job_writes_every_row(
    submitted: tuple["subprocess.CompletedProcess[str]", Path], images: Path
) -> None:
    done, output = submitted
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"cluster +{HOST}:\d+", done.stdout)  # it joined the cluster and started no Ray of its own
    assert (output / "_SUCCESS").is_file()
    rows = [row for file in (output / "results").glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert sorted(Path(row["image_uri"]).name for row in rows) == sorted(path.name for path in images.iterdir())
    assert {row["status"] for row in rows} == {"ok"}
    record = json.loads((output / "_run.json").read_text())
    assert record["state"] == "finished"
    assert record["cluster"]["slots"] == 4
    assert all(record["seconds_per_stage"][stage] > 0 for stage in ("superpixels", "network", "maps"))


@pytest.mark.usefixtures("submitted")
def test_working_directory_is_the_code_and_little_else(head: Head) -> None:
    packages = head.packages()
    assert packages
    for package in packages:
        names = {path.name for path in package.iterdir()}
        assert {"jobs", "saliency_core", "pyproject.toml"} <= names
        assert not names & {
            ".venv",
            ".git",
            ".mypy_cache",
            ".ruff_cache",
            ".pytest_cache",
            ".hypothesis",
            "demo-output",
        }
        assert sum(path.stat().st_size for path in package.rglob("*")) < 20e6


def test_job_without_the_token_is_refused(head: Head) -> None:
    """If this fails because `ray job submit` finds the token by itself, the documentation can lose a line."""
    command = [str(BIN / "ray"), "job", "submit", "--address", head.address, "--", "true"]
    outsider = {name: value for name, value in _environment().items() if not name.startswith("RAY_")}
    done = subprocess.run(command, env=outsider, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "Unauthorized" in done.stderr


def test_failed_job_is_told_by_the_exit_code(head: Head, tmp_path: Path) -> None:
    output = tmp_path / "run"
    done = head.submit(*_job(tmp_path / "missing", output, "--method", "low-level"))
    assert done.returncode == 1
    assert "error:" in done.stdout
    assert "missing" in done.stdout
    assert not output.exists()


def test_stopped_job_gives_its_output_back_and_is_not_told_by_the_exit_code(
    head: Head, images: Path, tmp_path: Path
) -> None:
    """`ray job stop` kills what has not ended after three seconds.

    Exit code 0 is why the documentation sends scripts to `_SUCCESS`: if it is another now, the text must change too.
    """
    ray, output = str(BIN / "ray"), tmp_path / "run"
    network = ["--model", "squeezenet1_1", "--weights", "random", "--num-classes", "5", "--network-workers", "1"]
    entrypoint = _job(images, output, *network, "--iterations", "5000")  # for many minutes
    command = [ray, "job", "submit", "--address", head.address, "--submission-id", "to-stop", "--working-dir", "."]
    with subprocess.Popen(
        [*command, "--", *entrypoint],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as submitted:
        assert submitted.stdout is not None
        try:
            deadline = time.monotonic() + 240
            while not (output / "_progress.json").exists():
                assert submitted.poll() is None, submitted.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert (output / "_claim.json").exists()
            stop = [ray, "job", "stop", "--address", head.address, "to-stop"]
            subprocess.run(stop, env=_environment(), capture_output=True, check=True, timeout=120)
            submitted.stdout.read()
            assert submitted.wait(60) == 0
        finally:
            submitted.kill()
    assert not (output / "_claim.json").exists()
    assert not (output / "_SUCCESS").exists()
    logs = [ray, "job", "logs", "--address", head.address, "to-stop"]
    said = subprocess.run(logs, env=_environment(), capture_output=True, text=True, timeout=120).stdout
    assert "error: the run is incomplete: it was terminated; the same command goes on where it stopped" in said
    assert "Traceback" not in said
