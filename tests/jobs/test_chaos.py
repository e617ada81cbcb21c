"""A short run of the chaos harness; `python -m benchmarks.studies.chaos` does the long one."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_job_that_is_killed_again_and_again_has_the_rows_of_a_quiet_one() -> None:
    command = [sys.executable, "-m", "benchmarks.studies.chaos", "--images", "48", "--pause", "3", "--seed", "4"]
    command += ["--drivers", "1", "--actors", "1", "--workers", "1", "--nodes", "0", "--fail", "0.05", "--at-once", "2"]
    command += ["--seconds", "400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, env=os.environ | {"RAY_ADDRESS": ""})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] == {"driver": 1, "actor": 1, "worker": 1}
    assert (report["lost"], report["double"], report["different"]) == (0, 0, 0)
    assert report["exit_codes"]["2"] >= 1  # of two that start together one is refused
    assert report["requests"]["passed"] < sum(report["requests"].values())
