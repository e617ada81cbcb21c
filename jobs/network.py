"""Second step: the network pass. One object a worker process, with the network on its device."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from jobs.prepare import PREPARED
from saliency_core.classifiers import Classifier
from saliency_core.erasure import Attribution
from saliency_core.methods import NetworkMethod
from saliency_core.parameters import SaliencyParameters

_ADDED = (
    pa.field("raw", pa.binary()),  # float32 (S, S)
    pa.field("label", pa.int64()),
    pa.field("label_name", pa.string()),
    pa.field("label_probability", pa.float32()),
    pa.field("logit_before", pa.float32()),
    pa.field("logit_after", pa.float32()),
    pa.field("logit_drift", pa.float32()),
    pa.field("seconds_network", pa.float32()),
)
ATTRIBUTED = pa.schema([field for field in PREPARED if field.name != "input"] + list(_ADDED))
"""Rows behind the network pass: the input is dropped, the raw map and what the network said are added."""


class NetworkStep:
    """Run a method's network pass over shards.

    Parameters
    ----------
    classifier : Classifier
        Moved to a GPU where there is one.
    method : NetworkMethod
    parameters : SaliencyParameters
    batch_size : int, optional
        Images per pass; by default 64 on a GPU, 8 on a CPU.
    """

    def __init__(
        self,
        classifier: Classifier,
        method: NetworkMethod,
        parameters: SaliencyParameters,
        batch_size: int | None = None,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        classifier.network.to(device)
        self.classifier = classifier
        self.method = method
        self.parameters = parameters
        self.batch_size = batch_size or (64 if device.type == "cuda" else 8)

    def __call__(self, prepared: pa.Table) -> pa.Table:
        """Rows of `PREPARED` in, as many rows of `ATTRIBUTED` out, in the same order.

        Rows that failed before take part as black images, so that a batch has the same images in the same places
        whatever befell the others: results do not depend on which fetches failed.
        """
        size = self.classifier.preprocessing.input_size
        contents = prepared["input"].to_pylist()
        statuses = prepared["status"].to_pylist()
        errors = prepared["error"].to_pylist()
        labels = prepared["wanted_label"].to_numpy()
        rows: list[dict[str, Any]] = []
        for start in range(0, len(contents), self.batch_size):
            part = slice(start, start + self.batch_size)
            inputs = np.zeros((len(contents[part]), size, size, 3), np.uint8)
            usable = [content is not None for content in contents[part]]
            if not any(usable):
                rows += [{}] * len(usable)
                continue
            for index, content in enumerate(contents[part]):
                if content is not None:
                    inputs[index] = np.frombuffer(content, np.uint8).reshape(size, size, 3)
            started = time.perf_counter()
            found = self._attribute(inputs, labels[part])
            seconds = (time.perf_counter() - started) / len(inputs)
            for index, (good, outcome) in enumerate(zip(usable, found, strict=True)):
                if not good:
                    rows.append({})
                elif isinstance(outcome, Exception):
                    rows.append({"seconds_network": seconds})
                    reason = " ".join(str(outcome).split())[:400]
                    statuses[start + index] = "method_error"
                    errors[start + index] = f"{type(outcome).__name__}: {reason}"
                else:
                    rows.append(self._row(outcome) | {"seconds_network": seconds})
        columns = {name: prepared[name] for name in PREPARED.names if name != "input"}
        columns |= {"status": pa.array(statuses, pa.string()), "error": pa.array(errors, pa.string())}
        added = pa.Table.from_pylist(rows, schema=pa.schema(_ADDED))
        columns |= {name: added[name] for name in added.column_names}
        return pa.table(columns, schema=ATTRIBUTED)

    def _attribute(self, inputs: np.ndarray, labels: np.ndarray) -> list["Attribution | Exception"]:
        """One outcome an image: an `Attribution` of one, or what went wrong with it."""
        try:
            found = self.method.attribute(self.classifier, inputs, labels, self.parameters)
        except Exception as error:  # one image must not cost its neighbours their maps
            if len(inputs) == 1:
                return [error]
            return [self._attribute(inputs[i : i + 1], labels[i : i + 1])[0] for i in range(len(inputs))]
        outcomes: list[Attribution | Exception] = []
        for index in range(len(inputs)):
            if not np.isfinite(found.raw[index]).all():
                outcomes.append(ArithmeticError("the network's gradient is not finite for this image"))
            else:
                outcomes.append(Attribution(**{name: value[index] for name, value in vars(found).items()}))
        return outcomes

    def _row(self, found: Attribution) -> dict[str, Any]:
        return {
            "raw": found.raw.tobytes(),
            "label": int(found.label),
            "label_name": self.classifier.class_names[int(found.label)],
            "label_probability": float(found.probability),
            "logit_before": float(found.logit_before),
            "logit_after": float(found.logit_after),
            "logit_drift": float(found.drift),
        }
