"""What a finished network says about every image of a run: one row an image, whatever befell it."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy
from torchmetrics.functional.classification import multiclass_confusion_matrix

from jobs.finetuning.labels import Labelled
from jobs.finetuning.plan import FinetunePlan
from jobs.finetuning.training import labelled_set
from jobs.inputs.archives.uris import without_place
from jobs.training.loading import Batch
from saliency_core.networks.classifier import Classifier

SCHEMA = pa.schema(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("image_uri", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("label", pa.int64(), nullable=False),
        pa.field("label_name", pa.string(), nullable=False),
        pa.field("predicted", pa.int64()),
        pa.field("predicted_name", pa.string()),
        pa.field("predicted_probability", pa.float32()),
        # How many classes the network puts before the image's own: 0 is right.
        pa.field("label_rank", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Errors:
    """Errors of a network on one part of the images.

    Parameters
    ----------
    images, unread : int
        Images that count, and those that could not be read.
    top1, top5 : float
        Shares of wrong answers; nan without an image.
    confusion : int array (N, N)
        Images by class (row) and answer (column).
    """

    images: int
    unread: int
    top1: float
    top5: float
    confusion: NDArray[np.int64]


class Predictor:
    """The network in a worker of its own."""

    def __init__(self, classifier: Any) -> None:
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        self.classifier: Classifier = ray.get(classifier)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = self.classifier.network.to(self.device, memory_format=torch.channels_last)

    def __call__(self, batch: Batch) -> Batch:
        """Take a batch of images to what the network says of them."""
        preprocessing = self.classifier.preprocessing
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (preprocessing.mean, preprocessing.std))
        with torch.inference_mode():
            images = torch.tensor(batch["image"]).to(self.device).permute(0, 3, 1, 2).float() / 255
            logits = self.network((images - mean) / std)
            labels = torch.tensor(batch["label"], device=self.device)
            probabilities = logits.softmax(1)
            own = logits.gather(1, labels[:, None])
            # Of equal logits the first class is the answer, as argmax has it.
            before = torch.arange(logits.shape[1], device=self.device) < labels[:, None]
            ranks = ((logits > own) | ((logits == own) & before)).sum(1)
        return {
            **{name: batch[name] for name in ("index", "status", "error")},
            "predicted": logits.argmax(1).cpu().numpy(),
            "probability": probabilities.max(1).values.cpu().numpy(),
            "rank": ranks.cpu().numpy(),
        }


def predict(plan: FinetunePlan, classifier: Classifier) -> pa.Table:
    """Ask a network about all images of a run; return rows of `SCHEMA`, part by part in the order of the lists."""
    shared = ray.put(classifier)
    tables = [_predict(plan, classifier, shared, part, images) for part, images in plan.images.parts.items()]
    return pa.concat_tables(tables)


def errors_of(predictions: pa.Table, part: str, classes: int) -> Errors:
    """Sum up the rows of one part."""
    chosen = [row for row in predictions.to_pylist() if row["part"] == part]
    read = [row for row in chosen if row["status"] == "ok"]
    ranks = np.array([row["label_rank"] for row in read])
    answers, labels = (torch.tensor([row[name] for row in read], dtype=torch.long) for name in ("predicted", "label"))
    confusion = multiclass_confusion_matrix(answers, labels, classes)
    return Errors(
        images=len(read),
        unread=len(chosen) - len(read),
        top1=float((ranks > 0).mean()) if read else float("nan"),
        top5=float((ranks >= 5).mean()) if read else float("nan"),
        confusion=confusion.numpy(),
    )


def _predict(plan: FinetunePlan, classifier: Classifier, shared: Any, part: str, images: Labelled) -> pa.Table:
    side = classifier.preprocessing.input_size
    dataset = labelled_set(images, side, max_pixels=plan.settings.max_pixels).map_batches(
        Predictor,
        fn_constructor_args=(shared,),
        compute=ActorPoolStrategy(size=plan.workers),
        batch_size=64 if plan.cluster.gpus else 16,
        num_cpus=plan.cpus_per_worker,
        num_gpus=1 if plan.cluster.gpus else 0,
    )
    found = sorted(dataset.iter_rows(), key=lambda row: row["index"])
    rows = []
    for row in found:
        label = int(images.labels[row["index"]])
        is_read = row["status"] == "ok"
        said = int(row["predicted"])
        rows.append(
            {
                "part": part,
                "image_uri": without_place(images.uris[row["index"]].as_py()),
                "status": row["status"],
                "error": row["error"] or None,
                "label": label,
                "label_name": classifier.class_names[label],
                "predicted": said if is_read else None,
                "predicted_name": classifier.class_names[said] if is_read else None,
                "predicted_probability": float(row["probability"]) if is_read else None,
                "label_rank": int(row["rank"]) if is_read else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)
