"""What travels between the steps of the job: bytes of an image to the network worker and from it, by preset.

``python -m benchmarks.speed.travel [--images FOLDER] [--limit 24] [--presets fast default best]``

The steps are the job's own, in one process, with SqueezeNet 1.1 and random weights (its layers decide the bytes, not
its weights). ``kib_plain`` is what the tables hold, and what travelled before what the network does not read was
compressed; ``milliseconds`` is the processor time an image to pack rows before the network and behind it and to read
them, ``milliseconds_in_the_network_worker`` that worker's part of it. Without a folder it draws some images.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from demo.drawing import write_data_set
from jobs.inputs.manifest import SCHEMA
from jobs.pipeline.network import network_step
from jobs.pipeline.prepare import PrepareStep
from jobs.pipeline.shard_row import ShardRow, from_block, to_block
from jobs.pipeline.work_log import ShardLog
from jobs.settings import SaliencySettings
from saliency_core import load_classifier


def measure(files: list[Path], preset: str) -> dict[str, Any]:
    """Take images through the steps and weigh what lies between."""
    settings = SaliencySettings(images="in", output="out", preset=preset, batch_size=4)  # type: ignore[arg-type]
    classifier = load_classifier("squeezenet1_1", "random")
    listed = [
        {"image_id": index, "image_uri": str(file), "mask_uri": None, "label": -1} for index, file in enumerate(files)
    ]
    prepared = PrepareStep(settings, classifier.preprocessing.input_size)(pa.Table.from_pylist(listed, schema=SCHEMA))
    network = network_step(classifier, settings, len(files))
    clock = [time.process_time()]
    sent = to_block([ShardRow(0, prepared, ShardLog())])
    clock.append(time.process_time())
    (received,) = from_block(sent)
    clock.append(time.process_time())
    attributed = network(received.images)
    clock.append(time.process_time())
    returned = to_block([ShardRow(0, attributed, received.log, received.others)])
    clock.append(time.process_time())
    (finished,) = from_block(returned)
    whole = finished.all_columns
    clock.append(time.process_time())
    spans = [1000 * (after - before) / len(files) for before, after in itertools.pairwise(clock)]

    def kib(size: int) -> float:
        return round(size / 1024 / len(files), 1)

    assert received.images is not None
    return {
        "preset": preset,
        "images": len(files),
        "kib_to_the_network": kib(sent.nbytes),
        "kib_of_them_that_it_reads": kib(received.images.nbytes),
        "kib_from_the_network": kib(returned.nbytes),
        "kib_plain_to_the_network": kib(prepared.nbytes),
        "kib_plain_from_the_network": kib(whole.nbytes),
        "milliseconds": round(sum(spans) - spans[2], 2),
        "milliseconds_in_the_network_worker": round(spans[1] + spans[3], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--presets", nargs="+", default=["fast", "default", "best"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.images is None:
            write_data_set(Path(folder), given.limit, seed=0)
        root = given.images or Path(folder) / "images"
        files = sorted(file for file in root.iterdir() if file.suffix in (".jpg", ".png"))[: given.limit]
        for preset in given.presets:
            print(json.dumps(measure(files, preset)), flush=True)


if __name__ == "__main__":
    main()
