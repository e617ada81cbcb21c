"""What a run says of itself while it works: metrics that Ray exports to Prometheus, from the driver.

All of them begin with ``ray_saliency_`` there and have the tag ``run``; `cluster/grafana-dashboard.json` shows them.
"""

from typing import Any

from ray.util.metrics import Counter, Gauge

from jobs.pipeline.work_log import ShardLog, WorkLog

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
    """Counts the shards of a run.

    Parameters
    ----------
    run : str
        The run's id.
    images, shards : int
        That this start of it is to do.
    """

    def __init__(self, run: str, images: int, shards: int) -> None:
        self._left = {"images_left": images, "shards_left": shards}
        self._metrics: dict[str, Any] = {}
        for kind, known in ((Counter, _COUNTERS), (Gauge, _GAUGES)):
            for name, (description, tag) in known.items():
                metric = kind(f"saliency_{name}", description=description, tag_keys=("run", *([tag] if tag else [])))
                metric.set_default_tags({"run": run})
                self._metrics[name] = metric
        # From the beginning: what has not happened is 0, not unknown.
        self._repeated = dict.fromkeys(("prepare", "network", "finish"), 0)
        for stage in self._repeated:
            self._metrics["repeated_steps"].set(0, {"stage": stage})
        for name in ("retries", "memory_splits", "network_busy_share"):
            self._metrics[name].set(0)
        self._metrics["gpu_memory_bytes"].set(0, {"worker": ""})
        self._set_left()

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
            if images > 0:
                self._metrics["images"].inc(images, {"status": status})
        for stage, worker, began, ended in log.work:
            if ended > began:
                self._metrics["work_seconds"].inc(ended - began, {"stage": stage})
            if stage == "network" and (taken := log.counts.get("gpu_bytes")):
                self._metrics["gpu_memory_bytes"].set(taken, {"worker": worker})
        for name in ("bytes_read", "bytes_written"):
            if (count := log.counts.get(name, 0)) > 0:
                self._metrics[name].inc(count)
        for name in ("retries", "memory_splits"):
            self._metrics[name].set(work.counts.get(name, 0))
        for stage, times in log.repeated.items():
            self._repeated[stage] += times
            self._metrics["repeated_steps"].set(self._repeated[stage], {"stage": stage})
        self._metrics["network_busy_share"].set(work.network_busy or 0.0)
        self._left["images_left"] -= sum(counts.values())
        self._left["shards_left"] -= 1
        self._set_left()

    def _set_left(self) -> None:
        for name, value in self._left.items():
            self._metrics[name].set(max(value, 0))
