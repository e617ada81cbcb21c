"""The demonstration as `make demo` runs it, on fewer scenes."""

import json
from pathlib import Path

import pytest
import ray

from demo.__main__ import main


@pytest.mark.slow
def test_the_demonstration_runs_and_every_stage_improves_on_the_one_before(tmp_path: Path) -> None:
    assert main(["--output", str(tmp_path), "--count", "24"]) == 0
    ray.shutdown()
    assert (tmp_path / "contact-sheet.png").stat().st_size > 50_000
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")

    def scores(method: str) -> list[float]:
        record = json.loads((tmp_path / "runs" / method / "_run.json").read_text())
        return [stage["f_beta_of_mean_curve"] for stage in record["scores"].values()]

    raw, smoothed, refined, objects = scores("clamped-erasure")
    assert raw + 0.05 < smoothed < refined - 0.02
    assert refined + 0.05 < objects
    first, both, objects = scores("multi-context")
    assert first + 0.02 < both < objects - 0.02
