"""Second step: the network pass. One object a worker process, with the network on its device."""

from typing import Any

import numpy as np
import pyarrow as pa

from jobs.pipeline.packing import packed_depths, unpacked_regions
from jobs.pipeline.passes import NetworkPasses
from jobs.pipeline.tables import ADDED, ATTRIBUTED
from jobs.settings import SaliencySettings
from saliency_core.methods.attribution import ImageAttribution
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.networks.classifier import Classifier


class NetworkStep:
    """Take rows through the network.

    Parameters
    ----------
    passes : NetworkPasses
    """

    def __init__(self, passes: NetworkPasses) -> None:
        self.passes = passes

    def __call__(self, prepared: pa.Table) -> pa.Table:
        """Rows of `PREPARED` in, as many rows of `ATTRIBUTED` out, in the same order.

        Only the columns `FOR_NETWORK` have to be there; what else is comes out as it went in.
        """
        size = self.passes.side
        images = [
            None if content is None else np.frombuffer(content, np.uint8).reshape(size, size, 3)
            for content in prepared["input"].to_pylist()
        ]
        statuses = prepared["status"].to_pylist()
        errors = prepared["error"].to_pylist()
        rows: list[dict[str, Any]] = []
        of_superpixels = self.passes.method.is_of_superpixels
        regions = [unpacked_regions(content) for content in prepared["regions"].to_pylist()] if of_superpixels else ()
        outcomes = self.passes(images, prepared["wanted_label"].to_numpy(), regions)
        for index, (outcome, seconds) in enumerate(outcomes):
            if outcome is None:
                rows.append({})
            elif isinstance(outcome, Exception):
                rows.append({"seconds_network": seconds})
                reason = " ".join(str(outcome).split())[:400]
                statuses[index] = "method_error"
                errors[index] = f"{type(outcome).__name__}: {reason}"
            else:
                rows.append(self._row(outcome) | {"seconds_network": seconds})
        columns = {name: prepared[name] for name in prepared.column_names if name != "input"}
        columns |= {"status": pa.array(statuses, pa.string()), "error": pa.array(errors, pa.string())}
        added = pa.Table.from_pylist(rows, schema=pa.schema(ADDED))
        columns |= {name: added[name] for name in added.column_names}
        return pa.table(columns, schema=pa.schema([ATTRIBUTED.field(name) for name in columns]))

    def _row(self, found: ImageAttribution) -> dict[str, Any]:
        return {
            "raw": found.raw.tobytes(),
            "depths": packed_depths(found) if found.features else None,
            "label": found.label,
            "label_name": None if found.label is None else self.passes.classifier.class_names[found.label],
            "label_probability": found.probability,
            "logit_before": found.logit_before,
            "logit_after": found.logit_after,
            "logit_drift": found.drift,
        }


def network_step(
    classifier: Classifier, settings: SaliencySettings, rows_per_shard: int, gpu_share: float = 1.0
) -> NetworkStep:
    """Make the network step that the settings ask for."""
    method = METHODS[settings.method]
    assert isinstance(method, NetworkMethod)
    passes = NetworkPasses(
        classifier,
        method,
        settings.parameters,
        settings.batch_size,
        settings.precision,
        settings.compile,
        rows_per_shard,
        gpu_share,
    )
    return NetworkStep(passes)
