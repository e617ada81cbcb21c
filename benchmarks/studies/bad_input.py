"""Decode the corpus of broken, hostile and odd files: statuses, highest memory and longest time of the decoder.

``python -m benchmarks.studies.bad_input``
"""

import json
import time
from collections import Counter
from pathlib import Path

from jobs.decoding.files import DecodeSettings
from jobs.decoding.process import Decoder
from saliency_core.imaging.options import DEFAULT_MAX_PIXELS
from tests.support.bad_files import corpus


def peak_megabytes(pid: int, *, reset: bool = False) -> int:
    """Return the highest resident memory of a process since the last reset (Linux)."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    decoder = Decoder(DecodeSettings(max_pixels=DEFAULT_MAX_PIXELS, working_size=512, input_size=224))
    statuses: Counter[str] = Counter()
    longest = highest = (0.0, "")
    wrong = []
    crashes = 0
    for file in corpus():
        process = decoder._process
        if process is not None:
            peak_megabytes(process.pid, reset=True)
        started = time.perf_counter()
        found = decoder.image(file.content)
        longest = max(longest, (time.perf_counter() - started, file.name))
        if found["status"] == "ok" and file.mask is not None:
            found |= decoder.mask(file.mask, found)
        assert decoder._process is not None
        crashes += process is not None and decoder._process is not process
        highest = max(highest, (peak_megabytes(decoder._process.pid), file.name))
        statuses[found["status"]] += 1
        if found["status"] not in file.statuses:
            wrong.append((file.name, found["status"], found["error"]))
    decoder.close()
    figures = {
        "files": statuses.total(),
        "statuses": statuses,
        "wrong": wrong,
        "crashes": crashes,
        "longest_seconds": (round(longest[0], 3), longest[1]),
        "highest_megabytes": highest,
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
