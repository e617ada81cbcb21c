"""The rounds: heads are taught, say what they see in images that they were not taught with, and teach the next ones.

What a round that is over leaves lies below the output until the run is finished, so that none is done twice.
"""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy

from jobs.distillation.module import HELD_OUT, Distilling, DistilTask, Lessons, blended, new_heads, read_depths
from jobs.distillation.plan import DistilPlan
from jobs.distillation.teacher import draw_lessons
from jobs.storage import files as storage
from jobs.training.fit import FOLDER, OnEpoch, fit
from jobs.training.loading import Batch, image_set, kept_if_it_fits
from jobs.training.module import PARTS
from jobs.training.outputs import to_parquet
from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.methods.student import read_map
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.placement import place
from saliency_core.networks.saliency_head import SaliencyHead
from saliency_core.networks.weights import StateDict

LESSONS_FILE = "lessons.parquet"
IMAGES_A_PASS = {"cpu": 16, "cuda": 64}


@dataclass(frozen=True)
class Taught:
    """What all rounds leave.

    Parameters
    ----------
    head : StateDict
        Of the best epoch of the last round.
    history : list of dict
        A row for every epoch of every round.
    best_epoch : int
        Of the last round.
    stopped_early : bool
        In the last round.
    parts : dict of str to Table
        The sample (`teacher.LESSONS`) in its two parts.
    sets : dict of str to Dataset
        Their images.
    """

    head: StateDict
    history: list[dict[str, Any]]
    best_epoch: int
    stopped_early: bool
    parts: dict[str, pa.Table]
    sets: dict[str, ray.data.Dataset]


def teach(plan: DistilPlan, on_epoch: OnEpoch) -> Taught:
    """Draw the sample and teach heads in all rounds, from what earlier starts of the run left.

    Raises
    ------
    TrainingError
        If no row of the run can teach, or a round cannot reach an end.
    """
    settings = plan.settings
    parts = in_parts(_lessons_table(plan), settings.validation_share)
    teachers = {part: lessons_of(table, plan.head.grid, settings.folds, part) for part, table in parts.items()}
    sets = _image_sets(plan, parts)
    classifier, lessons = ray.put(plan.classifier), teachers
    history: list[dict[str, Any]] = []
    for number in range(1, settings.rounds + 1):
        task = DistilTask(
            settings=settings,
            preprocessing=plan.classifier.preprocessing,
            steps_per_epoch=plan.steps_of(len(parts["train"])),
            heads=1 if number == settings.rounds else settings.folds,
            round=number,
        )
        folder = storage.join(FOLDER, f"round-{number}")
        own = None if task.heads == 1 else _left_behind(plan, folder, teachers)
        if own is None:
            make = partial(_module, classifier, plan.head, ray.put(lessons), task)
            trained = fit(plan, make, sets, partial(_with_round, number, on_epoch), folder)
            rows = [{"round": number, **row} for row in trained.history]
            if task.heads == 1:
                return Taught(
                    head=trained.part("heads.0"),
                    history=history + rows,
                    best_epoch=trained.best_epoch,
                    stopped_early=trained.stopped_early,
                    parts=parts,
                    sets=sets,
                )
            own = _predicted(plan, sets, trained.part("heads"), teachers), rows
            _leave_behind(plan, folder, *own)
        said, rows = own
        history += rows
        lessons = {
            part: Lessons(blended(known.targets, said[part], settings.own_share), known.weights, known.folds)
            for part, known in teachers.items()
        }
    raise AssertionError("the last round returns")


def in_parts(table: pa.Table, validation_share: float) -> dict[str, pa.Table]:
    """Hold a share of the sample out; its order is random already."""
    held_out = min(max(1, round(validation_share * len(table))), len(table) - 1)
    return {"train": table.slice(held_out), "validation": table.slice(0, held_out)}


def lessons_of(table: pa.Table, grid: int, folds: int, part: str) -> Lessons:
    """Make the lessons of one part of the sample, with the teacher's maps as targets."""
    content = b"".join(table["target"].to_pylist())
    return Lessons(
        targets=np.frombuffer(content, np.uint8).reshape(-1, grid, grid),
        weights=table["weight"].to_numpy().astype(np.float32),
        folds=np.arange(len(table)) % folds if part == "train" else np.full(len(table), HELD_OUT),
    )


class HeldOutPredictor:
    """Heads in a worker of their own: of each image they say what those see that were not taught with it."""

    def __init__(self, classifier: Any, head: SaliencyHead, state: Any, count: int, folds: Any, part: str) -> None:
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        own: Classifier = ray.get(classifier)
        self.classifier = place(own, device)
        heads = torch.nn.ModuleList(new_heads(head, count, 0))
        heads.load_state_dict(ray.get(state))
        self.heads = heads.eval().requires_grad_(False).to(device)
        self.folds: NDArray[np.int64] = ray.get(folds)[part]

    def __call__(self, batch: Batch) -> Batch:
        """Take a batch of images to maps, uint8 (B, grid * grid)."""
        places = np.maximum(batch["index"], 0)
        images = pixels_of_images(self.classifier, np.ascontiguousarray(batch["image"]))
        with torch.inference_mode():
            depths = read_depths(self.classifier, normalised(self.classifier, images))
            maps = torch.stack([read_map(head, depths).float().sigmoid() for head in self.heads]).cpu().numpy()
        found = [
            maps[fold, row] if fold != HELD_OUT else maps[:, row].mean(axis=0)
            for row, fold in enumerate(self.folds[places])
        ]
        return {
            "index": batch["index"],
            "counts": batch["counts"],
            "map": (255 * np.stack(found)).round().astype(np.uint8).reshape(len(found), -1),
        }


def _module(classifier: Any, head: SaliencyHead, lessons: Any, task: DistilTask) -> Distilling:
    return Distilling(ray.get(classifier), head, ray.get(lessons), task)


def _with_round(number: int, on_epoch: OnEpoch, row: dict[str, Any]) -> None:
    on_epoch({"round": number, **row})


def _lessons_table(plan: DistilPlan) -> pa.Table:
    uri = storage.join(plan.settings.output, FOLDER, LESSONS_FILE)
    if storage.exists(uri):
        return pq.read_table(io.BytesIO(storage.read_bytes(uri)))
    table = draw_lessons(plan.teacher, plan.settings, plan.head.grid)
    storage.write_bytes(uri, to_parquet(table))
    return table


def _image_sets(plan: DistilPlan, parts: dict[str, pa.Table]) -> dict[str, ray.data.Dataset]:
    side = plan.classifier.preprocessing.input_size
    sets = {}
    for part in PARTS:
        made = image_set(
            parts[part]["uri"].combine_chunks(),
            side,
            {},
            max_pixels=plan.settings.max_pixels,
            multiple=plan.workers,
            seed=plan.settings.seed,
        ).drop_columns(["status", "error"])
        sets[part] = kept_if_it_fits(made, len(parts[part]), side)
    return sets


def held_out_maps(plan: DistilPlan, taught: Taught) -> NDArray[np.uint8]:
    """Ask the head that was taught about the images that were held out; see `teacher.LESSONS` for their maps."""
    held_out = lessons_of(taught.parts["validation"], plan.head.grid, plan.settings.folds, "validation")
    state = {f"0.{key}": value for key, value in taught.head.items()}
    return _predicted(plan, {"validation": taught.sets["validation"]}, state, {"validation": held_out})["validation"]


def _predicted(
    plan: DistilPlan,
    sets: Mapping[str, ray.data.Dataset],
    heads: StateDict,
    teachers: Mapping[str, Lessons],
) -> dict[str, NDArray[np.uint8]]:
    """Ask heads about all images; where one cannot be read, its teacher's map stays."""
    count = 1 + max(int(key.partition(".")[0]) for key in heads)
    folds = ray.put({part: lessons.folds for part, lessons in teachers.items()})
    shared = ray.put(plan.classifier), plan.head, ray.put(dict(heads)), count, folds
    found = {}
    for part, images in sets.items():
        said = teachers[part].targets.copy()
        answers = images.map_batches(
            HeldOutPredictor,
            fn_constructor_args=(*shared, part),
            compute=ActorPoolStrategy(size=plan.workers),
            batch_size=IMAGES_A_PASS["cuda" if plan.cluster.gpus else "cpu"],
            num_cpus=plan.cpus_per_worker,
            num_gpus=1 if plan.cluster.gpus else 0,
        )
        for batch in answers.iter_batches(batch_format="numpy"):
            index, counts, maps = (np.asarray(batch[name]) for name in ("index", "counts", "map"))
            said[index[counts]] = maps[counts].reshape(-1, *said.shape[1:])
        found[part] = said
    return found


def _leave_behind(
    plan: DistilPlan, folder: str, said: dict[str, NDArray[np.uint8]], rows: list[dict[str, Any]]
) -> None:
    table = pa.table(
        {
            "part": [part for part, maps in said.items() for _ in maps],
            "map": pa.array([map_.tobytes() for maps in said.values() for map_ in maps], pa.binary()),
        }
    ).replace_schema_metadata({"history": json.dumps(rows)})
    storage.write_bytes(storage.join(plan.settings.output, f"{folder}.parquet"), to_parquet(table))


def _left_behind(
    plan: DistilPlan, folder: str, teachers: dict[str, Lessons]
) -> tuple[dict[str, NDArray[np.uint8]], list[dict[str, Any]]] | None:
    uri = storage.join(plan.settings.output, f"{folder}.parquet")
    if not storage.exists(uri):
        return None
    table = pq.read_table(io.BytesIO(storage.read_bytes(uri)))
    parts = np.array(table["part"].to_pylist())
    maps = table["map"].to_pylist()
    said = {
        part: np.frombuffer(b"".join(maps[n] for n in np.flatnonzero(parts == part)), np.uint8).reshape(
            known.targets.shape
        )
        for part, known in teachers.items()
    }
    return said, json.loads(table.schema.metadata[b"history"])
