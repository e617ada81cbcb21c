"""When which worker worked: how busy every stage of a run was, and so what held it up."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from jobs.storage import traffic

Stage = Literal["prepare", "network", "finish"]


@dataclass
class ShardLog:
    """What is known of the work on one shard; it travels with the shard.

    Parameters
    ----------
    work : list of [stage, worker, began, ended]
        In seconds since the epoch, by the worker's own clock.
    warnings : list of str
        What did not go as asked.
    counts : dict of str to int
        Bytes read and written, retries of the storage, halved passes, and a GPU's memory at most.
    repeated : dict of str to int
        How often a stage was begun before, in vain.
    """

    work: list[tuple[str, str, float, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def working(self, stage: Stage) -> Iterator[None]:
        """Note the time of the block that this opens, and what is read and written in it."""
        began, before = time.time(), traffic.counted()
        yield
        self.work.append((stage, f"{socket.gethostname()} {os.getpid()}", began, time.time()))
        for name, value in (traffic.counted() - before).items():
            self.counts[name] = self.counts.get(name, 0) + value

    def to_json(self) -> str:
        """Return the log as text."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> "ShardLog":
        """Make a log of what `to_json` returned."""
        content = json.loads(text)
        return cls(**(content | {"work": [tuple(entry) for entry in content["work"]]}))


@dataclass
class WorkLog:
    """Sums over the logs of all shards of a run.

    Parameters
    ----------
    slots : int
        CPU slots of the cluster; where nodes come and go, the most that were there at a time.
    network_slots : int
        Those of them that are the network workers' own.
    """

    slots: int
    network_slots: int
    seconds: dict[str, float] = field(default_factory=lambda: {"prepare": 0.0, "network": 0.0, "finish": 0.0})
    warnings: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    _again: float = 0.0
    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    _first: float = float("inf")
    _last: float = 0.0

    def add(self, log: ShardLog) -> None:
        """Add a shard."""
        for name, value in log.counts.items():
            known = self.counts.get(name, 0)
            self.counts[name] = max(known, value) if name == "gpu_bytes" else known + value
        for stage, worker, began, ended in log.work:
            self.seconds[stage] += ended - began
            self._again += log.repeated.get(stage, 0) * (ended - began)
            self._first, self._last = min(self._first, began), max(self._last, ended)
            if stage == "network":
                first, last = self._spans.get(worker, (began, ended))
                self._spans[worker] = (min(first, began), max(last, ended))
        for warning in log.warnings:
            self.warnings[warning] = self.warnings.get(warning, 0) + 1

    @property
    def workers(self) -> int:
        """Network workers that have done something."""
        return len(self._spans)

    @property
    def network_busy(self) -> float | None:
        """Share of the time between their first and their last shard that the network workers were busy."""
        span = sum(last - first for first, last in self._spans.values())
        return self.seconds["network"] / span if span > 0 else None

    @property
    def share_done_twice(self) -> float:
        """Share of all work that was lost and done again, as if lost steps had taken as long as those that stayed."""
        whole = sum(self.seconds.values()) + self._again
        return self._again / whole if whole > 0 else 0.0

    @property
    def working_seconds(self) -> float:
        """Seconds from the first pass of the network (without one: from the first piece of work) to the last work.

        So the start of Ray and of the workers is not counted: it is the same for ten images and for a million.
        """
        if self._last == 0.0:
            return 0.0
        passes = [first for first, _ in self._spans.values()]
        return self._last - (min(passes) if passes else self._first)

    def figures(self, images: int) -> dict[str, Any]:
        """Return what the record says of the work.

        Parameters
        ----------
        images : int
            That were worked on.

        Returns
        -------
        dict
            Images per second without the start of the workers; milliseconds an image of each step, worker's time; how
            busy the network workers were between their first and their last shard, and what they waited; how busy the
            other CPU slots were from the first piece of work to the last; what held the run up; and how many CPU slots
            keep one network worker busy.
        """
        network_span = sum(last - first for first, last in self._spans.values())
        tasks = self.seconds["prepare"] + self.seconds["finish"]
        task_span = max(self.slots - self.network_slots, 1) * max(self._last - self._first, 0.0)
        milliseconds = {name: round(1000 * value / max(images, 1), 2) for name, value in self.seconds.items()}
        network_busy = self.network_busy
        tasks_busy = tasks / task_span if task_span > 0 else None
        found: dict[str, Any] = {
            "images_per_second": round(images / self.working_seconds, 3) if images and self.working_seconds else None,
            "milliseconds_per_image": milliseconds,
            "network_workers": len(self._spans),
            "network_busy": _rounded(network_busy),
            "network_idle_seconds": round(network_span - self.seconds["network"], 3),
            "task_slots": max(self.slots - self.network_slots, 0),
            "tasks_busy": _rounded(tasks_busy),
            "cpu_slots_per_network_worker": None,
            "bottleneck": "tasks",
            "warnings": self.warnings,
            "counts": self.counts,
            "share_done_twice": round(self.share_done_twice, 4),
        }
        if self.seconds["network"] > 0:
            found["cpu_slots_per_network_worker"] = round(tasks / self.seconds["network"], 2)
            found["bottleneck"] = "network" if (network_busy or 0) >= (tasks_busy or 0) else "tasks"
        return found


def sentence(figures: dict[str, Any], gpus: int) -> str:
    """Say for a person what held a run up, from `WorkLog.figures`."""
    milliseconds = figures["milliseconds_per_image"]
    tasks = milliseconds["prepare"] + milliseconds["finish"]
    if figures["cpu_slots_per_network_worker"] is None:
        return f"bottleneck: the CPU tasks, {tasks:.1f} ms an image; there is no network"
    worker = "GPU" if gpus and figures["network_workers"] <= gpus else "network worker"
    busy = f"the network workers were busy {figures['network_busy']:.0%} of their time"
    if figures["bottleneck"] == "network":
        held_up = f"bottleneck: the network, {milliseconds['network']:.1f} ms an image; {busy}"
    else:
        held_up = f"bottleneck: the CPU tasks, {tasks:.1f} ms an image; {busy}"
    return f"{held_up}; {figures['cpu_slots_per_network_worker']:.2f} CPU slots for tasks keep one {worker} busy"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
