"""The results' columns: their order, types and Hugging Face features. The one place to change them."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 2

STATUSES = ("ok", "fetch_error", "decode_error", "too_large", "mask_error", "method_error")
"""Every row has one of these; of them, ok and mask_error rows hold maps."""

TIMED = ("fetch", "decode", "superpixels", "network", "maps", "segmentation")
"""Parts of the work whose seconds are kept for every image, in columns `seconds_NAME`."""

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_HISTOGRAM = pa.list_(pa.int32())


def results_schema(stages: Sequence[str], segmented: bool = False) -> pa.Schema:
    """Return the schema of the results of a method with the given stages.

    Parameters
    ----------
    stages : sequence of str
        Names of the method's maps, in order.
    segmented : bool
        Whether the object is cut out as well.
    """
    fields = [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("image_uri", pa.string(), nullable=False),
        pa.field("mask_uri", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("map_width", pa.int32()),
        pa.field("map_height", pa.int32()),
        pa.field("share_read", pa.float32()),
        pa.field("label", pa.int64()),
        pa.field("label_name", pa.string()),
        pa.field("label_probability", pa.float32()),
        pa.field("logit_before", pa.float32()),
        pa.field("logit_after", pa.float32()),
        pa.field("logit_drift", pa.float32()),
        pa.field("superpixels", pa.int32()),
        pa.field("mask_empty", pa.bool_()),
    ]
    for stage in stages:
        fields += [
            pa.field(f"map_{stage}", _IMAGE),
            pa.field(f"f_beta_{stage}", pa.float64()),
            pa.field(f"f_beta_adaptive_{stage}", pa.float64()),
            pa.field(f"mae_{stage}", pa.float64()),
            pa.field(f"foreground_histogram_{stage}", _HISTOGRAM),
            pa.field(f"background_histogram_{stage}", _HISTOGRAM),
        ]
    if segmented:
        fields += [
            pa.field("segmentation", _IMAGE),
            pa.field("segmentation_f_beta", pa.float64()),
            pa.field("segmentation_iou", pa.float64()),
        ]
    fields += [pa.field(f"seconds_{name}", pa.float32()) for name in TIMED]
    features = {field.name: _feature(field.type) for field in fields}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "saliency_schema_version": str(SCHEMA_VERSION),
    }
    return pa.schema(fields, metadata=metadata)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if kind == _HISTOGRAM:
        return {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "Sequence"}
    names = {pa.float32(): "float32", pa.float64(): "float64", pa.bool_(): "bool"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}
