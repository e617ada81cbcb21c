"""Second step: the network pass. One object a worker process, with the network on its device."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from jobs.pipeline.batch_size import even_part, images_on_a_cpu, images_that_fit
from jobs.pipeline.freed_memory import reuse_freed_memory
from jobs.pipeline.prepare import PREPARED
from jobs.settings import SaliencySettings
from saliency_core.methods.attribution import Attribution
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place
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
        Images per pass at most; by default as many as fit a GPU's free memory, up to 16 on a CPU. Halved for good when
        memory runs out all the same.
    precision : Precision
    compile : bool
        Compile the network for its batch size; every pass then has that size.
    rows_per_shard : int, optional
        Images of a shard, which is done in passes of one size: no pass is larger than a shard, nor is its last one
        filled with more than a few images where the network is compiled.
    gpu_share : float
        The part of a GPU's memory that this worker may take.

    Attributes
    ----------
    warnings : list of str
        What did not go as asked, for the record of the run.
    """

    def __init__(
        self,
        classifier: Classifier,
        method: NetworkMethod,
        parameters: SaliencyParameters,
        batch_size: int | None = None,
        precision: Precision = "float32",
        compile: bool = False,
        rows_per_shard: int | None = None,
        gpu_share: float = 1.0,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classifier = place(classifier, device, precision)
        self.method = method
        self.parameters = parameters
        self.warnings: list[str] = []
        reuse_freed_memory()
        most = batch_size or (
            self._fitting_batch(gpu_share) if device.type == "cuda" else images_on_a_cpu(self.classifier)
        )
        self.batch_size = most if rows_per_shard is None else even_part(rows_per_shard, most)
        self.padded = compile
        if compile:
            self.classifier, warning = compiled_network(self.classifier, self.batch_size)
            self.padded = warning is None
            self.warnings += [warning] if warning else []

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
        start = 0
        while start < len(contents):  # batches may get smaller on the way
            part = slice(start, start + self.batch_size)
            inputs = np.zeros((len(contents[part]), size, size, 3), np.uint8)
            usable = [content is not None for content in contents[part]]
            if not any(usable):
                rows += [{}] * len(usable)
                start += len(usable)
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
            start += len(inputs)
        columns = {name: prepared[name] for name in PREPARED.names if name != "input"}
        columns |= {"status": pa.array(statuses, pa.string()), "error": pa.array(errors, pa.string())}
        added = pa.Table.from_pylist(rows, schema=pa.schema(_ADDED))
        columns |= {name: added[name] for name in added.column_names}
        return pa.table(columns, schema=ATTRIBUTED)

    def _attribute(self, inputs: np.ndarray, labels: np.ndarray) -> list["Attribution | Exception"]:
        """One outcome an image: an `Attribution` of one, or what went wrong with it."""
        try:
            found = self._pass(inputs, labels)
        except torch.OutOfMemoryError as error:
            if len(inputs) == 1:
                return [error]
            half = (len(inputs) + 1) // 2
            self._shrink(half)
            return [*self._attribute(inputs[:half], labels[:half]), *self._attribute(inputs[half:], labels[half:])]
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

    def _pass(self, inputs: np.ndarray, labels: np.ndarray) -> Attribution:
        missing = self.batch_size - len(inputs) if self.padded else 0
        if missing <= 0:
            return self.method.attribute(self.classifier, inputs, labels, self.parameters)
        inputs = np.concatenate([inputs, np.zeros((missing, *inputs.shape[1:]), inputs.dtype)])
        labels = np.concatenate([labels, np.zeros(missing, labels.dtype)])
        found = self.method.attribute(self.classifier, inputs, labels, self.parameters)
        return Attribution(**{name: value[: len(value) - missing] for name, value in vars(found).items()})

    def _shrink(self, batch_size: int) -> None:
        """Go on with smaller batches; a compiled network is compiled once more, for their size."""
        torch.cuda.empty_cache()
        if batch_size < self.batch_size:
            self.batch_size = batch_size
            self.warnings.append(f"memory ran out: the network goes on with {batch_size} images a pass")

    def _fitting_batch(self, gpu_share: float) -> int:
        size = self.classifier.preprocessing.input_size
        peaks = []
        for count in (2, 2, 4):  # the first pass also takes what is taken once
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            inputs = np.zeros((count, size, size, 3), np.uint8)
            self.method.attribute(self.classifier, inputs, np.zeros(count, np.int64), self.parameters)
            peaks.append(torch.cuda.max_memory_allocated() - before)
        torch.cuda.empty_cache()
        free, whole = torch.cuda.mem_get_info()
        return images_that_fit(min(free, int(gpu_share * whole)), peaks[1], peaks[2])

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


def network_step(
    classifier: Classifier, settings: SaliencySettings, rows_per_shard: int, gpu_share: float = 1.0
) -> NetworkStep:
    """Make the network step that the settings ask for."""
    method = METHODS[settings.method]
    assert isinstance(method, NetworkMethod)
    return NetworkStep(
        classifier,
        method,
        settings.parameters,
        settings.batch_size,
        settings.precision,
        settings.compile,
        rows_per_shard,
        gpu_share,
    )
