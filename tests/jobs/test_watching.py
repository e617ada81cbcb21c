"""A run that one can watch: metrics as Prometheus reads them, logs as JSON, status that goes on looking, cost."""

import contextlib
import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import saliency, status
from jobs.pipeline.connecting import metrics_address, start_ray
from jobs.pipeline.work_log import ShardLog, WorkLog
from jobs.run import claim
from jobs.settings import SaliencySettings
from tests.support.tiny_set import TINY_NETWORK, write_tiny_set

pytestmark = pytest.mark.slow

DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana-dashboard.json"


@contextmanager
def scraping() -> Iterator[dict[str, str]]:
    """Read again and again what Prometheus would; the latest line of every series, by what stands before its value."""
    address, is_over = metrics_address(), threading.Event()
    assert address is not None
    found: dict[str, str] = {}

    def read() -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
            found.update(line.rsplit(" ", 1) for line in lines if line.startswith("ray_saliency_"))

    def keep_reading() -> None:
        while not is_over.wait(0.5):
            read()

    thread = threading.Thread(target=keep_reading, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        is_over.set()
        thread.join()


def value(found: dict[str, str], name: str, **tags: str) -> float:
    series = [key for key in list(found) if key.startswith(f"ray_saliency_{name}{{")]
    series = [key for key in series if all(f'{tag}="{content}"' in key for tag, content in tags.items())]
    return sum(float(found[key]) for key in series)


def test_metrics_logs_cost_and_status_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, _ = write_tiny_set(tmp_path, 9)
    (images / "broken.png").write_bytes(b"not an image")
    start_ray(address="local", num_cpus=4, include_dashboard=False, _system_config={"metrics_report_interval_ms": 500})
    named = ["--images", str(images), "--output"]
    options = [*TINY_NETWORK, "--iterations", "1", "--no-objects", "--rows-per-file", "4", "--price-cpu", "0.1"]
    options = [*named, str(tmp_path / "out"), *options]
    dashboard = DASHBOARD.read_text()
    shown = set(re.findall(r"ray_\w+", dashboard))
    assert len(shown) >= 11
    with scraping() as found:
        assert saliency.main([*options, "--log-format", "json"]) == 0
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (value(found, "images_total") < 10 or value(found, "images_left")):
            time.sleep(0.5)
    said = capsys.readouterr()
    assert said.out == ""
    lines = [json.loads(line) for line in said.err.splitlines()]
    record = json.loads((tmp_path / "out" / "_run.json").read_text())
    assert {line["run"] for line in lines} == {record["run_id"]}
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("plan", "finished")
    assert lines[-1]["counts"] == {"ok": 9, "decode_error": 1}

    # All that the dashboard shows is there for Prometheus.
    assert shown <= {key.partition("{")[0] for key in found}
    assert value(found, "images_total", run=record["run_id"], status="ok") == 9
    assert value(found, "images_total", run=record["run_id"], status="decode_error") == 1
    assert value(found, "images_left", run=record["run_id"]) == value(found, "shards_left", run=record["run_id"]) == 0
    for stage in ("prepare", "network", "finish"):
        assert value(found, "work_seconds_total", stage=stage) > 0
    # Counted by the tasks that read it, with their parts of the manifest.
    files = sum(path.stat().st_size for path in images.iterdir())
    assert value(found, "bytes_read_total") == record["cost"]["bytes_read"] >= files
    results = sum(path.stat().st_size for path in (tmp_path / "out" / "results").iterdir())
    assert value(found, "bytes_written_total") == record["cost"]["bytes_written"] == results
    panels = [target["expr"] for panel in json.loads(dashboard)["panels"] for target in panel["targets"]]
    assert all('run=~"$run"' in expression for expression in panels)

    cost = record["cost"]
    assert cost["share_done_twice"] == 0
    assert cost["cpu_seconds"] == pytest.approx(4 * record["seconds"], abs=0.01)
    hours = 1e6 / record["images_per_second"] / 3600
    assert cost["per_million_images"] == pytest.approx(hours * 4 * 0.1, rel=1e-3)

    # Errors are lines of JSON, too, and a dry run says the cost that an earlier run lets it know.
    assert saliency.main([*options, "--log-format", "json", "--method", "gradient"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["level"] == "error"
    dry = [*named, str(tmp_path / "new"), *options[4:], "--timings", str(tmp_path / "out"), "--dry-run"]
    assert saliency.main(dry) == 0
    assert re.search(r"cost      about [\d.]+ a million images, for 0 GPUs and \d+ CPU slots", capsys.readouterr().out)

    assert status.main(["--run", str(tmp_path / "out"), "--watch"]) == 0
    assert "finished" in capsys.readouterr().out


def test_watching_ends_when_nobody_works_any_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = claim.Holder.new()
    (tmp_path / "_claim.json").write_bytes(holder.to_bytes())
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        (tmp_path / "_overwrite.json").write_text("{}")
        if len(looks) == 2:
            (tmp_path / "_claim.json").unlink()

    monkeypatch.setattr(time, "sleep", sleep)
    assert status.main(["--run", str(tmp_path), "--watch", "--every", "3", "--json"]) == 0
    states = [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()]
    assert (states, looks) == (["running", "running", "unfinished"], [3.0, 3.0])
    assert status.main(["--run", str(tmp_path), "--watch", "--stop"]) == 2


def test_work_that_was_lost_counts_as_done_twice() -> None:
    work = WorkLog(4, 1)
    work.add(ShardLog([("prepare", "a 1", 0.0, 2.0), ("network", "a 2", 2.0, 3.0)], counts={"gpu_bytes": 7}))
    assert work.share_done_twice == 0
    work.add(ShardLog([("prepare", "a 1", 2.0, 3.0)], counts={"gpu_bytes": 5}, repeated={"prepare": 2}))
    assert work.share_done_twice == pytest.approx(2 / 6)
    assert work.counts == {"gpu_bytes": 7}


def test_prices_are_no_part_of_the_results() -> None:
    plain = SaliencySettings(images="/a", output="/b")
    priced = SaliencySettings(images="/a", output="/b", price_gpu=2.0, price_cpu=0.1, log_format="json")
    assert plain.fingerprint("w", "m") == priced.fingerprint("w", "m")
