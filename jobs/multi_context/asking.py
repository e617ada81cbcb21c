"""What trained networks say of images: the first stage's values of all of them, and scores of those held out."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy

from jobs.multi_context.images import most_superpixels
from jobs.multi_context.module import FirstStage
from jobs.multi_context.plan import MultiContextPlan
from jobs.training.loading import Batch
from saliency_core.methods.multi_context import first_stage, second_stage, shown
from saliency_core.methods.window_network import ContextNetworks, WindowNetwork
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.placement import place
from saliency_core.scoring.data_set import DataSetFigures, DataSetScores
from saliency_core.superpixels.regions import Regions

IMAGES_AT_ONCE = 8
LEVELS = 256


@dataclass(frozen=True)
class Scores:
    """Scores of both stages on the images that were held out.

    Parameters
    ----------
    first, both : DataSetFigures
    """

    first: DataSetFigures
    both: DataSetFigures


class Asked:
    """Networks of windows in a worker of their own.

    Parameters
    ----------
    networks : object reference
        A `WindowNetwork`, or `ContextNetworks`: both stages are then asked.
    mean, std, input_size
        As of `Preprocessing`.
    """

    def __init__(self, networks: Any, mean: Any, std: Any, input_size: int) -> None:
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        module = ray.get(networks)
        self.has_both = isinstance(module, ContextNetworks)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classifier = place(Classifier.from_module(module, mean, std, input_size), device)

    def __call__(self, batch: Batch) -> Batch:
        """Take a batch of images to what the networks say of their superpixels, uint8 (B, stages, n)."""
        found = np.zeros((len(batch["index"]), 1 + self.has_both, batch["shares"].shape[1]), np.uint8)
        mean, std = (
            torch.tensor(values, device=self.classifier.device).view(1, 3, 1, 1)
            for values in (self.classifier.preprocessing.mean, self.classifier.preprocessing.std)
        )
        for row in np.flatnonzero(batch["counts"]):
            count = int((batch["shares"][row] >= 0).sum())
            regions = Regions(batch["centres"][row][:count].copy(), batch["cells"][row].astype(np.uint16))
            with torch.inference_mode():
                image = torch.tensor(batch["image"][row]).to(self.classifier.device).permute(2, 0, 1)[None].float()
                image = (image / 255 - mean) / std
                first = first_stage(self.classifier, image, regions)
                stages = [first]
                if self.has_both:
                    stages = [shown(first), shown(second_stage(self.classifier, image, regions, first))]
            found[row, :, :count] = np.rint(255 * np.stack(stages))
        return {name: batch[name] for name in ("index", "counts", "areas", "shares")} | {"said": found}


def ask_first(plan: MultiContextPlan, network: WindowNetwork, sets: Mapping[str, ray.data.Dataset]) -> FirstStage:
    """Ask the first network about all images; return its values (N, n) by part, zeros for one that cannot be read."""
    most = most_superpixels(plan.settings.segments)
    found = {}
    for part, images in sets.items():
        said = np.zeros((len(plan.images.parts[part]), most), np.uint8)
        for batch in _answers(plan, network, images):
            index, counts = np.asarray(batch["index"]), np.asarray(batch["counts"])
            said[index[counts]] = np.asarray(batch["said"])[counts, 0]
        found[part] = said
    return found


def score_both(plan: MultiContextPlan, networks: ContextNetworks, images: ray.data.Dataset) -> Scores | None:
    """Score the maps of both stages on images that were held out; None where none of them could be read.

    A superpixel has one value, so that its pixels inside and outside of the mask are all that has to be known of it.
    """
    sums = (DataSetScores(), DataSetScores())
    for batch in _answers(plan, networks, images):
        for row in np.flatnonzero(np.asarray(batch["counts"])):
            areas, shares, said = (np.asarray(batch[name])[row] for name in ("areas", "shares", "said"))
            is_there = shares >= 0
            for own, values in zip(sums, said, strict=True):
                own.add(*_histograms(values[is_there], areas[is_there], shares[is_there]))
    return Scores(*(own.figures() for own in sums)) if sums[0].images else None


def _histograms(
    values: NDArray[np.uint8], areas: NDArray[np.float32], shares: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the pixels of an image at each of the 256 values, inside and outside of its mask: (1, 256) each."""
    inside = np.rint(areas * shares)
    counts = [np.bincount(values, weights=weights, minlength=LEVELS) for weights in (inside, areas - inside)]
    return counts[0].astype(np.int64)[None], counts[1].astype(np.int64)[None]


def _answers(plan: MultiContextPlan, networks: WindowNetwork | ContextNetworks, images: ray.data.Dataset) -> Any:
    preprocessing = plan.classifier.preprocessing
    return images.map_batches(
        Asked,
        fn_constructor_args=(
            ray.put(networks),
            preprocessing.mean,
            preprocessing.std,
            preprocessing.input_size,
        ),
        compute=ActorPoolStrategy(size=plan.workers),
        batch_size=IMAGES_AT_ONCE,
        num_cpus=plan.cpus_per_worker,
        num_gpus=1 if plan.cluster.gpus else 0,
    ).iter_batches(batch_format="numpy")
