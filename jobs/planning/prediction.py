"""How fast a planned run should be, and what will hold it up: from an earlier run's record, or from a table.

The table, ``timings.json``, was measured on the CPU that it names (`python -m benchmarks` measures all of it anew).
It holds no figures of GPUs: with one, only what the CPU tasks allow can be said, unless an earlier run tells more.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import SettingsError
from jobs.run.layout import RECORD
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from saliency_core.parameters import OBJECTS

TABLE = Path(__file__).with_name("timings.json")


@dataclass(frozen=True)
class Timings:
    """Milliseconds of work an image.

    Parameters
    ----------
    tasks : float
        Of the CPU tasks: fetch, decode, superpixels, maps, scores, PNG.
    network : float, optional
        Of one network worker, or of one GPU that several share; None where it is not known.
    source : str
        Where the figures come from, for a person.
    """

    tasks: float
    network: float | None
    source: str


def known_timings(settings: SaliencySettings, gpus: int) -> Timings | None:
    """Find what is known of a run's speed.

    Returns
    -------
    Timings, or None where nothing is known of the method.

    Raises
    ------
    SettingsError
        If the run that `settings.timings` names has no finished record.
    """
    if settings.timings is not None:
        return _of_run(settings.timings)
    table: dict[str, Any] = json.loads(TABLE.read_text())
    steps: float | None = {"clamped-erasure": settings.erasure.iterations, "gradient": 1}.get(settings.method)
    if steps is None:
        return None
    views = sum(size**2 for size in settings.views.sizes) * (2 if settings.views.mirror else 1)
    steps = steps * views
    each = None if gpus else table["network_milliseconds_per_step"].get(settings.model)
    network = None if each is None else steps * each / settings.cpus_per_network_worker
    tasks = table["tasks_milliseconds"]
    makes_objects = OBJECTS in settings.stages
    tasks += table["objects_milliseconds"] * makes_objects
    cuts = settings.segment + (makes_objects and settings.objects.cut_share > 0)
    tasks += table["cut_milliseconds"] * cuts
    return Timings(tasks, network, f"measured on {table['hardware']}")


def _of_run(output: str) -> Timings:
    try:
        record = json.loads(storage.read_bytes(storage.join(storage.absolute(output), RECORD)))
        milliseconds = record["work"]["milliseconds_per_image"]
        gpus, workers = record["cluster"]["gpus"], record["cluster"]["network_workers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"the run at {storage.redacted(output)} says nothing of its speed: name the output of a finished run"
        ) from error
    tasks = milliseconds["prepare"] + milliseconds["finish"]
    # Workers that share a GPU wait for each other: what it needs itself is its part of their time.
    network = milliseconds["network"] * (gpus / max(workers, gpus) if gpus else 1.0)
    return Timings(tasks, network or None, f"as in the run at {storage.redacted(output)}")


@dataclass(frozen=True)
class Prediction:
    """How fast a run should be.

    Parameters
    ----------
    text : str
        For a person.
    images_per_second : float, optional
        None where it is not known.
    """

    text: str
    images_per_second: float | None = None


def predict(timings: Timings, workers: int, task_slots: int, cores: int | None) -> Prediction:
    """Say how fast a run should be.

    Parameters
    ----------
    timings : Timings
    workers : int
        Network workers; 0 without a network.
    task_slots : int
        CPU slots beside theirs.
    cores : int, optional
        Cores that tasks and network workers share; None where these have GPUs, or lie on a cluster.

    Examples
    --------
    >>> predict(Timings(20.0, 100.0, "as ever"), workers=2, task_slots=2, cores=2).text
    'about 16.7 images/s, held up by the network; 0.2 CPU slots for tasks keep a network worker busy (as ever)'
    """
    limits = {"the CPU tasks": 1000 * task_slots / timings.tasks}
    if workers and timings.network is None:
        return Prediction(
            f"at most {limits['the CPU tasks']:.1f} images/s by the CPU tasks; "
            f"the network's own speed was not measured here ({timings.source})"
        )
    ratio = ""
    if workers and timings.network is not None:
        limits["the network"] = 1000 * workers / timings.network
        ratio = f"; {timings.tasks / timings.network:.1f} CPU slots for tasks keep a network worker busy"
    name = min(limits, key=lambda limit: limits[limit])
    rate = limits[name]
    if cores is not None:
        rate = min(rate, 1000 * cores / (timings.tasks + (timings.network or 0.0)))
    return Prediction(f"about {rate:.1f} images/s, held up by {name}{ratio} ({timings.source})", rate)


def prediction(settings: SaliencySettings, gpus: int, workers: int, slots: int, is_local: bool) -> Prediction:
    """Return the prediction for a plan."""
    timings = known_timings(settings, gpus)
    if timings is None:
        return Prediction("unknown: no figures of this method were measured")
    task_slots = max(slots - workers * settings.cpus_per_network_worker, 1)
    return predict(
        timings, min(workers, gpus) if gpus else workers, task_slots, os.cpu_count() if is_local and not gpus else None
    )
