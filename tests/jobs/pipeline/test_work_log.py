import json
from pathlib import Path

import pytest

from jobs.errors import SettingsError
from jobs.pipeline.work_log import ShardLog, WorkLog, sentence
from jobs.planning.prediction import Timings, known_timings, predict, prediction
from jobs.settings import SaliencySettings
from saliency_core.parameters import ViewParameters


def shard_log(*work: tuple[str, str, float, float], warnings: tuple[str, ...] = ()) -> ShardLog:
    return ShardLog(list(work), list(warnings))


def test_a_log_keeps_what_it_was_told_on_its_way() -> None:
    log = ShardLog()
    with log.working("prepare"):
        pass
    ((stage, worker, began, ended),) = ShardLog.from_json(log.to_json()).work
    assert stage == "prepare"
    assert worker
    assert 0 <= ended - began < 1


def test_a_network_that_never_waits_is_the_bottleneck() -> None:
    log = WorkLog(slots=4, network_slots=1)
    log.add(shard_log(("prepare", "a", 0, 2), ("network", "n", 2, 12), ("finish", "b", 12, 13)))
    log.add(shard_log(("prepare", "a", 2, 4), ("network", "n", 12, 22), ("finish", "b", 22, 23), warnings=("w",)))
    found = log.figures(images=20)
    assert found["milliseconds_per_image"] == {"prepare": 200.0, "network": 1000.0, "finish": 100.0}
    assert found["images_per_second"] == round(20 / 21, 3)  # from the first pass at 2 to the last work's end at 23
    assert found["network_busy"] == 1.0
    assert found["network_idle_seconds"] == 0.0
    assert found["tasks_busy"] == pytest.approx(6 / (3 * 23), abs=1e-3)
    assert found["bottleneck"] == "network"
    assert found["cpu_slots_per_network_worker"] == pytest.approx(0.3)
    assert found["warnings"] == {"w": 1}
    assert "0.30 CPU slots for tasks keep one GPU busy" in sentence(found, gpus=1)


def test_a_network_that_waits_shows_that_the_tasks_are_too_slow() -> None:
    log = WorkLog(slots=3, network_slots=2)
    for index in range(2):
        start = 10.0 * index
        log.add(shard_log(("prepare", "a", start, start + 9), ("network", f"n{index % 2}", start + 9, start + 10)))
        log.add(
            shard_log(("prepare", "a", start + 9, start + 18), ("network", f"n{index % 2}", start + 18, start + 19))
        )
    found = log.figures(images=4)
    assert found["network_workers"] == 2
    assert found["network_busy"] == pytest.approx(4 / 20)
    assert found["network_idle_seconds"] == 16.0
    assert found["bottleneck"] == "tasks"
    assert found["cpu_slots_per_network_worker"] == 9.0
    assert "bottleneck: the CPU tasks, 9000.0 ms an image" in sentence(found, gpus=0)


def test_a_method_without_a_network() -> None:
    log = WorkLog(slots=2, network_slots=0)
    log.add(shard_log(("prepare", "a", 0, 2), ("finish", "b", 2, 3)))
    found = log.figures(images=10)
    assert found["bottleneck"] == "tasks"
    assert "300.0 ms an image" in sentence(found, gpus=0)


def test_prediction_names_what_is_slowest_and_shares_cores() -> None:
    assert predict(Timings(20.0, 100.0, "x"), 2, 2, None).text.startswith("about 20.0 images/s, held up by the network")
    assert predict(Timings(20.0, 5.0, "x"), 1, 2, None).text.startswith(
        "about 100.0 images/s, held up by the CPU tasks"
    )
    assert predict(Timings(20.0, 30.0, "x"), 4, 4, 2).text.startswith("about 40.0 images/s")
    assert predict(Timings(20.0, None, "x"), 1, 4, None).text.startswith("at most 200.0 images/s by the CPU tasks")


def test_timings_come_from_the_table_or_from_an_earlier_run(tmp_path: Path) -> None:
    def settings(**changes: object) -> SaliencySettings:
        values: dict = {"images": "i", "output": "o", "model": "squeezenet1_1"} | changes
        return SaliencySettings(**values)

    table = known_timings(settings(), gpus=0)
    assert table is not None
    assert table.network is not None
    gradient = known_timings(settings(method="gradient"), gpus=0)
    assert gradient is not None
    assert gradient.network == pytest.approx(table.network / settings().erasure.iterations)
    views = ViewParameters(sizes=(1.0, 0.5), mirror=True)
    several = known_timings(settings(preset="paper", views=views), gpus=0)
    assert several is not None
    assert gradient.network is not None
    assert several.network == pytest.approx(gradient.network * 10 * 1.25 * 2)
    assert several.tasks < table.tasks  # without whole objects
    of_best = known_timings(settings(preset="best"), gpus=0)
    cut = known_timings(settings(preset="best", segment=True), gpus=0)
    assert of_best is not None
    assert cut is not None
    # The map's own cut-out takes as long as that of --segment.
    assert cut.tasks - of_best.tasks == pytest.approx(of_best.tasks - table.tasks)
    assert cut.tasks > of_best.tasks > table.tasks
    on_gpu = known_timings(settings(), gpus=1)
    assert on_gpu is not None
    assert on_gpu.network is None
    assert known_timings(settings(method="region-contrast"), gpus=0) is None
    work = {"milliseconds_per_image": {"prepare": 1.0, "network": 4.0, "finish": 2.0}}
    for gpus, workers, network in ((0, 2, 4.0), (1, 1, 4.0), (2, 4, 2.0)):
        record = {"work": work, "cluster": {"gpus": gpus, "network_workers": workers}}
        (tmp_path / "_run.json").write_text(json.dumps(record))
        found = known_timings(settings(timings=str(tmp_path)), gpus)
        assert found == Timings(3.0, network, f"as in the run at {tmp_path}")
    shared = settings(timings=str(tmp_path), network_workers=2)
    assert prediction(shared, gpus=1, workers=2, slots=8, is_local=True).text.startswith("about 500.0 images/s")
    with pytest.raises(SettingsError, match="says nothing of its speed"):
        known_timings(settings(timings=str(tmp_path / "none")), 1)
