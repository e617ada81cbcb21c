"""Fuzz the decoding of images and masks, guided by the coverage of the decoders' Python code (atheris, libFuzzer).

``python -m benchmarks.studies.fuzz_decoding --seconds 60`` starts from the corpus of `tests.support.bad_files`.
Whatever the bytes, the outcome must be a status: an exception, a crash, an input that takes more than 10 s or more
than 2 GiB is a find, which is kept in ``--finds``. The last line is JSON; exit code 1 if anything was found.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LONGEST_INPUT = 20_000
SECONDS_AN_INPUT = 10
MEGABYTES = 2048


def fuzz(arguments: list[str]) -> None:
    """Run libFuzzer in this process, which it ends."""
    import atheris

    with atheris.instrument_imports(include=["PIL", "tifffile", "saliency_core", "jobs"]):
        from jobs.decoding.files import DecodeSettings, decode_image_file, decode_mask_file

    settings = DecodeSettings(max_pixels=1_000_000, working_size=64, input_size=32)
    square = {"stored_height": 40, "stored_width": 60, "height": 40, "width": 60, "orientation": 1}
    square |= {"map_height": 40, "map_width": 60}

    def one(data: bytes) -> None:
        found = decode_image_file(data, settings, {})
        assert found["status"] in ("ok", "decode_error", "too_large")
        assert (found["error"] is None) == (found["status"] == "ok")
        if found["status"] == "ok":
            assert len(found["pixels"]) == found["map_width"] * found["map_height"] * 3
            assert len(found["input"]) == 32 * 32 * 3
        image = found if found["status"] == "ok" else square
        assert decode_mask_file(data, settings, image)["status"] in ("ok", "mask_error")

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def main() -> int:
    """Write the seeds, start the fuzzer, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--finds", type=Path, default=Path("fuzz-finds"), help="folder for inputs that were found")
    parser.add_argument("--libfuzzer", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.libfuzzer is not None:
        fuzz(given.libfuzzer)
    from tests.support.bad_files import corpus

    given.finds.mkdir(parents=True, exist_ok=True)
    before = set(given.finds.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        seeds = 0
        for file in corpus():
            for content in (file.content, file.mask):
                if content and len(content) <= LONGEST_INPUT:
                    (Path(folder) / f"{seeds:04d}").write_bytes(content)
                    seeds += 1
        options = [f"-max_total_time={given.seconds}", f"-seed={given.seed}", f"-max_len={LONGEST_INPUT}"]
        options += [f"-timeout={SECONDS_AN_INPUT}", f"-rss_limit_mb={MEGABYTES}", f"-artifact_prefix={given.finds}/"]
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.studies.fuzz_decoding", "--libfuzzer", folder, *options],
            capture_output=True,
            text=True,
            errors="replace",
        )
        seconds = time.monotonic() - started
    finds = sorted(str(path) for path in set(given.finds.iterdir()) - before)
    if not before and not finds:
        given.finds.rmdir()
    counts = [int(number) for number in re.findall(r"(?:^#|Done )(\d+)", done.stderr, re.MULTILINE)]
    if done.returncode != 0 or not counts:
        print(done.stderr[-3000:], file=sys.stderr)
    figures = {"seeds": seeds, "executions": max(counts, default=0), "seconds": round(seconds), "crashes": len(finds)}
    print(json.dumps(figures | {"finds": finds}))
    return 1 if finds or done.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
