"""Signals to the real jobs: a sentence, the code that every shell knows, and the claim given back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiny_set import TINY_NETWORK, write_tiny_set

pytestmark = pytest.mark.slow


def stop(command: list[str], number: signal.Signals, output: Path, is_at_work: Callable[[], bool]) -> tuple[int, str]:
    """Send a signal to a job at work; return its exit code and what it said on standard error."""
    log = output.parent / "stderr"
    with log.open("wb") as stream:
        # A Ray of its own, which ends with it; as from a terminal, other processes get no signal.
        process = subprocess.Popen(
            command, stderr=stream, stdout=subprocess.DEVNULL, env=os.environ | {"RAY_ADDRESS": ""}
        )
    try:
        deadline = time.monotonic() + 500
        while not is_at_work():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert (output / "_claim.json").exists()
        process.send_signal(number)
        code = process.wait(120)
    finally:
        process.kill()
        process.wait()
    assert not (output / "_claim.json").exists()
    assert not (output / "_SUCCESS").exists()
    return code, log.read_text()


def check_said(said: str, word: str) -> None:
    (error,) = [line for line in said.splitlines() if line.startswith("error")]
    assert error == f"error: the run is incomplete: it was {word}; the same command goes on where it stopped"
    for part in ("Traceback", "Stack trace", "*** SIG", "Fatal", "core dumped"):
        assert part not in said


def test_the_saliency_job_is_terminated(tmp_path: Path) -> None:
    images, _ = write_tiny_set(tmp_path, 200)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.saliency", "--images", str(images), "--output", str(output), *TINY_NETWORK]
    command += ["--iterations", "20", "--rows-per-file", "2", "--slots", "4", "--network-workers", "1"]
    code, said = stop(command, signal.SIGTERM, output, lambda: len(list(output.glob("results/*.parquet"))) > 1)
    assert code == 143
    check_said(said, "terminated")


def test_fine_tuning_is_interrupted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "classes" / name).mkdir(parents=True)
    images, _ = write_tiny_set(tmp_path, 16)
    for index, path in enumerate(sorted(images.iterdir())):
        path.rename(tmp_path / "classes" / "ab"[index % 2] / path.name)
    output = tmp_path / "out"
    command = [sys.executable, "-m", "jobs.finetune", "--images", str(tmp_path / "classes"), "--output", str(output)]
    command += [
        "--model",
        "demo.tiny_vgg:TinyVGG",
        "--weights",
        "random",
        "--input-size",
        "32",
        "--epochs",
        "500",
        "--patience",
    ]
    command += ["500", "--batch-size", "4", "--validation-share", "0.25", "--slots", "4"]
    snapshot = output / "_training" / "checkpoint_manager_snapshot.json"
    code, said = stop(command, signal.SIGINT, output, snapshot.exists)
    assert code == 130
    check_said(said, "interrupted")
