"""The tables that travel between the steps of the pipeline: a row an image. Nothing here needs a step's libraries."""

import pyarrow as pa

PREPARED = pa.schema(
    [
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
        pa.field("wanted_label", pa.int64(), nullable=False),
        # The network's input, uint8 (S, S, 3).
        pa.field("input", pa.binary()),
        # The superpixels as a network that looks at each of them needs them (`jobs.pipeline.packing`).
        pa.field("regions", pa.binary()),
        # Superpixel labels, uint16 (map_height, map_width), and low-level saliency, float32 (n,).
        pa.field("superpixel_labels", pa.binary()),
        pa.field("low_level", pa.binary()),
        # The same at the sizes at which whole objects are found, and their mean colours (`jobs.pipeline.packing`).
        pa.field("object_labels", pa.binary()),
        pa.field("object_colours", pa.binary()),
        # Maps of a method without a network, float32 (stages, map_height, map_width).
        pa.field("image_maps", pa.binary()),
        # The image at working size, uint8 (map_height, map_width, 3); only where it is needed then.
        pa.field("pixels", pa.binary()),
        # The mask at the size at which maps are stored, bits packed.
        pa.field("mask_foreground", pa.binary()),
        pa.field("mask_valid", pa.binary()),
        pa.field("seconds_fetch", pa.float32()),
        pa.field("seconds_decode", pa.float32()),
        pa.field("seconds_superpixels", pa.float32()),
    ]
)
"""Rows on their way from decoding to the network."""

FOR_NETWORK = ("status", "error", "wanted_label", "input", "regions")
"""Those of their columns that the network reads or changes."""

ADDED = (
    pa.field("raw", pa.binary()),  # float32 (S, S)
    pa.field("depths", pa.binary()),  # what the network's layers say (`jobs.pipeline.packing`)
    pa.field("label", pa.int64()),
    pa.field("label_name", pa.string()),
    pa.field("label_probability", pa.float32()),
    pa.field("logit_before", pa.float32()),
    pa.field("logit_after", pa.float32()),
    pa.field("logit_drift", pa.float32()),
    pa.field("seconds_network", pa.float32()),
)
ATTRIBUTED = pa.schema([field for field in PREPARED if field.name != "input"] + list(ADDED))
"""Rows behind the network pass: the input is dropped, the raw map and what the network said are added."""
