"""Trains the demonstration's pair of networks for multi-context saliency: `python -m demo.train_multi_context`.

By the job that everybody uses, on drawn scenes with their masks, from the demonstration's classifier. Numbers are
rounded to 16 bits once, so that the file is small. Takes some minutes on two processor cores.
"""

import tempfile
from pathlib import Path

import cyclopts

from demo.drawing import write_data_set
from jobs import train_multi_context
from jobs.planning.networks import MODEL
from saliency_core.networks.weights import read_weights, to_safetensors

CLASSIFIER = Path(__file__).with_name("classifier.safetensors")
PAIR = Path(__file__).with_name("multi_context.safetensors")

RECIPE = (
    *("--model", "demo.tiny_vgg:TinyVGG", "--weights", str(CLASSIFIER), "--batch-size", "4", "--windows", "16"),
    *("--learning-rate", "0.001", "--head-learning-rate", "0.002", "--patience", "0"),
)
"""Settings of the job, but for the images and the epochs."""


def train(*, output: Path = PAIR, scenes: int = 200, epochs: int = 8, seed: int = 100, work: Path | None = None) -> int:
    """Draw scenes, train both networks on them, and write the weights.

    Parameters
    ----------
    output
        Safetensors file to write.
    scenes
        Number of scenes; a tenth of them is held out.
    epochs
        Passes over these scenes, in each of the two stages.
    seed
        Of everything that is left to chance.
    work
        Folder for scenes and run, where the same command goes on if it was cut off; by default a temporary one.

    Returns
    -------
    int
        The exit code of the job.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = work or Path(name)
        if not (folder / "scenes" / "manifest.csv").exists():
            write_data_set(folder / "scenes", scenes, seed)
        code = train_multi_context.main(
            [
                *("--images", str(folder / "scenes" / "images"), "--masks", str(folder / "scenes" / "masks")),
                *("--output", str(folder / "run"), "--epochs", str(epochs), "--seed", str(seed), *RECIPE),
            ]
        )
        if code == 0:
            weights = read_weights(folder / "run" / MODEL)
            small = {
                key: value.half() if value.is_floating_point() else value for key, value in weights.tensors.items()
            }
            output.write_bytes(to_safetensors(small, weights.metadata))
            print(f"wrote {output}, {output.stat().st_size} bytes")
    return code


if __name__ == "__main__":
    raise SystemExit(cyclopts.run(train))
