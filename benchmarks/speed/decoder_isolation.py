"""What decoding in a process of its own costs: the same files decoded here and there, in turns.

``python -m benchmarks.speed.decoder_isolation --images FOLDER``
"""

import argparse
import json
import statistics
import time
from pathlib import Path

from jobs.decoding.files import DecodeSettings, decode_image_file
from jobs.decoding.process import Decoder
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    contents = [path.read_bytes() for path in sorted(given.images.iterdir())]
    settings = DecodeSettings(max_pixels=DEFAULT_MAX_PIXELS, working_size=512, input_size=224)
    decoder = Decoder(settings)
    started = time.perf_counter()
    decoder.image(contents[0])
    start_seconds = time.perf_counter() - started
    here, there = [], []
    for _ in range(given.rounds):
        for content in contents:
            started = time.perf_counter()
            decode_image_file(content, settings, {})
            middle = time.perf_counter()
            decoder.image(content)
            here.append(middle - started)
            there.append(time.perf_counter() - middle)
    decoder.close()
    figures = {
        "images": len(contents),
        "milliseconds_here": round(1000 * statistics.median(here), 2),
        "milliseconds_there": round(1000 * statistics.median(there), 2),
        "start_milliseconds": round(1000 * start_seconds),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
