"""The demonstration: draw scenes, run the saliency job over them, show what came out.

``python -m demo --output demo-output``. No data, no weights, no GPU and no network are needed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.drawing import write_data_set
from demo.photographs import write_picture
from jobs import report, saliency
from jobs.reporting.contact_sheet import contact_sheet

CLASSIFIER = Path(__file__).with_name("classifier.safetensors")
PAIR = Path(__file__).with_name("multi_context.safetensors")
METHODS = ("clamped-erasure", "gradient", "region-contrast", "multi-context")
SEED = 7
"""Of the drawn scenes; the classifier was trained on others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, run the job with four methods, report on them, say where everything lies; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for scenes and results")
    parser.add_argument("--count", type=int, default=64, help="number of scenes")
    parser.add_argument("--model", default="squeezenet1_1", help="a network that knows ImageNet, for photographs")
    parser.add_argument("--weights", help="its weights: a file, or pretrained, which torchvision downloads")
    options = parser.parse_args(arguments)
    scenes = options.output / "scenes"
    write_data_set(scenes, options.count, SEED)
    runs = [str(options.output / "runs" / method) for method in METHODS]
    for method, run in zip(METHODS, runs, strict=True):
        network = ("--model-from", str(PAIR)) if method == "multi-context" else ("--weights", str(CLASSIFIER))
        job = [
            *("--images", str(scenes / "images"), "--masks", str(scenes / "masks"), "--method", method),
            *("--model", "demo.tiny_vgg:TinyVGG", *network, "--output", run, "--overwrite"),
        ]
        print("\n$ python -m jobs.saliency " + " ".join(job), flush=True)
        code = saliency.main(job)
        if code != 0:
            return code
    sheet = options.output / "contact-sheet.png"
    contact_sheet(runs[0], rows=8, order="spread").save(sheet)
    print(f"\nsheet     {sheet}")
    if options.weights is None:
        print("photos    none: give --model and --weights (or --weights pretrained) of a network that knows ImageNet")
    else:
        photographs = options.output / "photographs.png"
        write_picture(photographs, options.model, options.weights)
        print(f"photos    {photographs}")
    return report.main(["--runs", *runs, "--output", str(options.output)])


if __name__ == "__main__":
    sys.exit(main())
