"""Listing a million keys and making their manifest: seconds and the driver's memory.

``python -m benchmarks.speed.list_million_keys [--keys 1000000] [--folders 100] [--delay 0.05]``

The bucket is a stand-in that answers S3's list requests, a thousand keys each, after a delay; what is measured is the
job's own listing (`jobs.inputs.listing`, in ranges side by side) and staging (`jobs.inputs.manifest`). With
``--folders 1`` nothing can be cut, and the requests come one after the other.
"""

import argparse
import json
import os
import platform
import resource
import time
from typing import Any

from jobs.inputs.manifest import stage_manifest
from jobs.inputs.sources import open_inputs
from jobs.settings import SaliencySettings
from jobs.storage import files as storage

PAGE = 1000


class Bucket:
    """Keys ``photographs/FFFF/NNNNNNNN.jpg``, of which none is kept."""

    def __init__(self, keys: int, folders: int, delay: float) -> None:
        self.keys = keys
        self.in_folder = -(-keys // folders)
        self.folders = folders
        self.delay = delay
        self.requests = 0

    def key(self, index: int) -> str:
        """Return a key; they rise with the index."""
        return f"photographs/{index // self.in_folder:04d}/{index:08d}.jpg"

    def call_s3(self, _: str, **request: str) -> dict[str, Any]:
        """Answer ListObjectsV2."""
        self.requests += 1
        time.sleep(self.delay)
        if "Delimiter" in request:
            if request["Prefix"] != "photographs/":
                return {}
            return {"CommonPrefixes": [{"Prefix": f"photographs/{folder:04d}/"} for folder in range(self.folders)]}
        if "ContinuationToken" in request:
            start = int(request["ContinuationToken"])
        else:
            start = int(request["StartAfter"].split("/")[1]) * self.in_folder if "StartAfter" in request else 0
        end = min(self.keys, start + PAGE)
        contents = [{"Key": self.key(index)} for index in range(start, end)]
        return {"Contents": contents, "IsTruncated": end < self.keys, "NextContinuationToken": str(end)}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=100)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds until the stand-in answers")
    options = parser.parse_args()
    bucket = Bucket(options.keys, options.folders, options.delay)
    storage.resolve = lambda uri: (bucket, "bucket/photographs")
    storage.absolute = lambda uri: uri
    settings = SaliencySettings(images="s3://bucket/photographs", output="unused", method="low-level")
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    staged = stage_manifest(open_inputs(settings))
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    if staged.images != options.keys:
        raise SystemExit(f"{staged.images} of {options.keys} keys were listed")
    report = {
        "hardware": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "keys": options.keys,
        "requests": bucket.requests,
        "seconds": round(seconds, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "mebibytes_before": round(before.ru_maxrss / 1024),
        "mebibytes_at_most": round(after.ru_maxrss / 1024),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
