"""What a run says of itself while it works: metrics that Ray exports to Prometheus, from the driver.

All of them begin with ``ray_saliency_`` there and have the tag ``run``; `cluster/grafana-dashboard.json` shows them.
"""

import threading
from types import TracebackType
from typing import Any

from ray.util.metrics import Counter, Gauge

from jobs.pipeline.work_log import ShardLog, WorkLog

SECONDS_BETWEEN = 2.0
"""Between two settings of the gauges; Ray reports every ten seconds."""

_COUNTERS = {
    "images": ("Images finished, by status", "status"),
    "work_seconds": ("Seconds of work of the tasks and network workers, by stage", "stage"),
    "bytes_read": ("Bytes read from storage by tasks", None),
    "bytes_written": ("Bytes written to storage by tasks", None),
}
_GAUGES = {
    # Sums, too; as gauges, because a counter of Ray's that has counted nothing is not there.
    "retries": ("Requests to storage that were tried again", None),
    "repeated_steps": ("Steps of shards begun again: lost nodes, dead workers, surroundings that failed", "stage"),
    "memory_splits": ("Passes of the network halved because a GPU's memory ran out", None),
    "images_left": ("Images that this start of the run has still to do", None),
    "shards_left": ("Shards that this start of the run has still to do", None),
    "network_busy_share": ("Share of their time that the network workers were busy", None),
    "gpu_memory_bytes": ("Most memory of a GPU that a network worker took", "worker"),
}


class RunMetrics:
    """Counts the shards of a run, for the length of a ``with`` block.

    Parameters
    ----------
    run : str
        The run's id.
    images, shards : int
        That this start of it is to do.
    """

    def __init__(self, run: str, images: int, shards: int) -> None:
        self._metrics: dict[str, Any] = {}
        for kind, known in ((Counter, _COUNTERS), (Gauge, _GAUGES)):
            for name, (description, tag) in known.items():
                metric = kind(f"saliency_{name}", description=description, tag_keys=("run", *([tag] if tag else [])))
                metric.set_default_tags({"run": run})
                self._metrics[name] = metric
        # From the beginning: what has not happened is 0, not unknown. By name and value of the tag.
        self._values: dict[tuple[str, str], float] = {
            **{(name, ""): 0 for name in _GAUGES if name != "repeated_steps"},
            **{("repeated_steps", stage): 0 for stage in ("prepare", "network", "finish")},
            ("images_left", ""): images,
            ("shards_left", ""): shards,
        }
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep_there, name="metrics", daemon=True)

    def __enter__(self) -> "RunMetrics":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def add(self, log: ShardLog, counts: dict[str, int], work: WorkLog) -> None:
        """Add a finished shard.

        Parameters
        ----------
        log : ShardLog
        counts : dict of str to int
            Its images by status.
        work : WorkLog
            The sums with this shard.
        """
        for status, images in counts.items():
            self._count("images", images, {"status": status})
        values = self._values.copy()  # another thread reads the old one
        for stage, worker, began, ended in log.work:
            self._count("work_seconds", ended - began, {"stage": stage})
            if stage == "network" and (taken := log.counts.get("gpu_bytes")):
                values["gpu_memory_bytes", worker] = taken
        for name in ("bytes_read", "bytes_written"):
            self._count(name, log.counts.get(name, 0), {})
        for name in ("retries", "memory_splits"):
            values[name, ""] = work.counts.get(name, 0)
        for stage, times in log.repeated.items():
            values["repeated_steps", stage] += times
        values["network_busy_share", ""] = work.network_busy or 0.0
        values["images_left", ""] = max(values["images_left", ""] - sum(counts.values()), 0)
        values["shards_left", ""] = max(values["shards_left", ""] - 1, 0)
        self._values = values

    def _count(self, name: str, value: float, tags: dict[str, str]) -> None:
        if value > 0:  # Ray refuses others
            self._metrics[name].inc(value, tags)

    def _keep_there(self) -> None:
        """Set all gauges again and again: Ray forgets their values once it has passed them on."""
        while True:
            is_last = self._is_over.is_set()
            for (name, tag), value in self._values.items():
                key = _GAUGES[name][1]
                self._metrics[name].set(value, {key: tag} if key else {})
            if is_last:
                return
            self._is_over.wait(SECONDS_BETWEEN)
