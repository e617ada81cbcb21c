"""Both stages: the first network learns, says what it sees in every image, and the second learns with that.

What the first stage leaves lies below the output until the run is finished, so that it is not done twice.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import safetensors.torch

from jobs.multi_context.asking import ask_first
from jobs.multi_context.images import masked_set
from jobs.multi_context.module import FirstStage, WindowTask, WindowTraining
from jobs.multi_context.plan import MultiContextPlan
from jobs.storage import files as storage
from jobs.training.fit import FOLDER, OnEpoch, Trained, fit
from jobs.training.loading import kept_if_it_fits
from jobs.training.module import PARTS
from jobs.training.outputs import to_parquet
from saliency_core.methods.window_network import ContextNetworks, WindowNetwork, new_window_network
from saliency_core.methods.windows import image_side
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.weights import StateDict, to_safetensors

STAGES = ("global", "local")


@dataclass(frozen=True)
class Taught:
    """What both stages leave.

    Parameters
    ----------
    networks : ContextNetworks
        Of the best epochs.
    history : list of dict
        A row for every epoch of each stage.
    best_epochs : dict of str to int
        By stage.
    sets : dict of str to Dataset
        The images of both parts.
    """

    networks: ContextNetworks
    history: list[dict[str, Any]]
    best_epochs: dict[str, int]
    sets: dict[str, ray.data.Dataset]


@dataclass(frozen=True)
class _Stage:
    """One stage, done."""

    tensors: StateDict
    history: list[dict[str, Any]]
    best_epoch: int


def teach(plan: MultiContextPlan, on_epoch: OnEpoch) -> Taught:
    """Train both networks, from what earlier starts of the run left.

    Raises
    ------
    TrainingError
        If a stage cannot reach an end.
    """
    sets = image_sets(plan)
    classifier = ray.put(plan.classifier)
    networks = [new_network(plan.classifier, stage, plan.settings.seed, plan.settings.head_width) for stage in STAGES]
    task = WindowTask(
        settings=plan.settings,
        preprocessing=plan.classifier.preprocessing,
        steps_per_epoch=plan.steps_of(len(plan.images.parts["train"])),
    )
    first = _left_behind(plan)
    if first is None:
        stage = _trained(plan, classifier, task, sets, on_epoch, None)
        networks[0].load_state_dict(dict(stage.tensors))
        said = ask_first(plan, networks[0], sets)
        _leave_behind(plan, stage, said)
        first = stage, said
    stage, said = first
    networks[0].load_state_dict(dict(stage.tensors))
    second = _trained(plan, classifier, task, sets, on_epoch, said)
    networks[1].load_state_dict(dict(second.tensors))
    return Taught(
        networks=ContextNetworks(*networks),
        history=stage.history + second.history,
        best_epochs={"global": stage.best_epoch, "local": second.best_epoch},
        sets=sets,
    )


def image_sets(plan: MultiContextPlan) -> dict[str, ray.data.Dataset]:
    """Make the sets of images of both parts."""
    side = image_side(plan.classifier.preprocessing.input_size)
    sets = {}
    for part in PARTS:
        images = plan.images.parts[part]
        made = masked_set(images, side, plan.settings, plan.images.mask_format, multiple=plan.workers)
        sets[part] = kept_if_it_fits(made.drop_columns(["status", "error"]), len(images), side)
    return sets


def new_network(classifier: Classifier, stage: str, seed: int, width: int) -> WindowNetwork:
    """Make the network of one of `STAGES` as it is before it learns; the classifier stays as it is."""
    own = Classifier.from_module(
        classifier.network,
        classifier.preprocessing.mean,
        classifier.preprocessing.std,
        classifier.preprocessing.input_size,
        classifier.class_names,
        name=classifier.name,
    )
    return new_window_network(own, stage == "local", seed, width).train()


def _trained(
    plan: MultiContextPlan,
    classifier: Any,
    task: WindowTask,
    sets: Mapping[str, ray.data.Dataset],
    on_epoch: OnEpoch,
    said: FirstStage | None,
) -> _Stage:
    stage = STAGES[0 if said is None else 1]
    make = partial(_module, classifier, stage, None if said is None else ray.put(said), task)
    trained: Trained = fit(plan, make, sets, partial(_with_stage, stage, on_epoch), storage.join(FOLDER, stage))
    rows = [{"stage": stage, **row} for row in trained.history]
    return _Stage(trained.part("network"), rows, trained.best_epoch)


def _module(classifier: Any, stage: str, said: Any, task: WindowTask) -> WindowTraining:
    network = new_network(ray.get(classifier), stage, task.settings.seed, task.settings.head_width)
    return WindowTraining(network, task, None if said is None else ray.get(said))


def _with_stage(stage: str, on_epoch: OnEpoch, row: dict[str, Any]) -> None:
    on_epoch({"stage": stage, **row})


def _leave_behind(plan: MultiContextPlan, stage: _Stage, said: FirstStage) -> None:
    table = pa.table(
        {
            "part": [part for part, values in said.items() for _ in values],
            "values": pa.array([row.tobytes() for values in said.values() for row in values], pa.binary()),
        }
    ).replace_schema_metadata({"history": json.dumps(stage.history), "best_epoch": str(stage.best_epoch)})
    folder = storage.join(plan.settings.output, FOLDER)
    storage.write_bytes(storage.join(folder, "global.safetensors"), to_safetensors(stage.tensors, {}))
    storage.write_bytes(storage.join(folder, "global.parquet"), to_parquet(table))  # last: it says that both are there


def _left_behind(plan: MultiContextPlan) -> tuple[_Stage, FirstStage] | None:
    folder = storage.join(plan.settings.output, FOLDER)
    if not storage.exists(storage.join(folder, "global.parquet")):
        return None
    table = pq.read_table(io.BytesIO(storage.read_bytes(storage.join(folder, "global.parquet"))))
    tensors = safetensors.torch.load(storage.read_bytes(storage.join(folder, "global.safetensors")))
    parts = np.array(table["part"].to_pylist())
    rows = table["values"].to_pylist()
    said = {
        part: np.stack([np.frombuffer(rows[place], np.uint8) for place in np.flatnonzero(parts == part)])
        for part in PARTS
    }
    metadata = table.schema.metadata
    return _Stage(tensors, json.loads(metadata[b"history"]), int(metadata[b"best_epoch"])), said
