"""The check of a GPU: its dry run on the CPU, and its checks as tests where there is a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import step
from benchmarks.gpu.checks import all_checks

ROOT = Path(__file__).parents[2]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.slow
def test_a_dry_run_goes_through_its_parts_without_ray_and_arrow(tmp_path: Path) -> None:
    (tmp_path / "blocked.py").write_text(
        "import runpy, sys\n"
        "sys.modules |= dict.fromkeys(('ray', 'pyarrow', 'lightning'))\n"  # importing them raises ImportError
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "sys.argv = ['gpu_check', *sys.argv[1:]]\n"
        "runpy.run_module('benchmarks.gpu_check', run_name='__main__')\n"
    )
    rows = tmp_path / "rows.jsonl"
    for part in ("step", "kernels"):
        options = ["--part", part, "--rows", str(rows), "--seconds", "300", "--quick"]
        subprocess.run([sys.executable, str(tmp_path / "blocked.py"), *options], check=True, timeout=500)
        found = [json.loads(line) for line in rows.read_text().splitlines()]
        assert found
        assert all(row.get("passed", True) for row in found)


def test_a_part_that_is_killed_is_named_and_the_next_one_runs(tmp_path: Path) -> None:
    code = (
        "import sys; from benchmarks import gpu_check;"
        "gpu_check.PARTS |= {'checks': 0.01, 'kernels': 0.01};"
        f"sys.argv = ['gpu_check', '--parts', 'checks', 'kernels', '--json', {str(tmp_path / 'out.json')!r}];"
        "sys.exit(gpu_check.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "not well: checks, kernels" in done.stdout
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    assert [parts[name]["exit"] for name in ("checks", "kernels")] == ["stopped after 0.01 s"] * 2


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", list(all_checks("squeezenet1_1", "random", 10)))
def test_on_a_gpu(name: str) -> None:
    all_checks("squeezenet1_1", "random", 10)[name]()


@pytest.mark.gpu
@needs_gpu
def test_on_a_gpu_batches_fit_its_memory() -> None:
    step.small_share("squeezenet1_1", "random", 96)
    step.memory_that_runs_out("squeezenet1_1", "random", 96)
