"""Commands that answer without work do not import what work needs: that took seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.__main__ import COMMANDS
from jobs.planning.cluster import may_have_gpus
from tests.support.tiny_set import write_tiny_set

WORK = {"torch", "torchvision", "ray", "numba", "scipy", "skimage", "cv2", "matplotlib", "lightning"}
SCRIPT = """
import json, sys
from jobs.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def imported(*arguments: str) -> tuple[int, set[str]]:
    """Return a command's exit code, and which packages it imported."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    code, names = json.loads(done.stdout.splitlines()[-1])
    return code, set(names)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    code, names = imported(command, "--help")
    assert code == 0
    assert not names & WORK


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--images", "x", "--output", "y", "--method", "magic"),
        ("run", "--images", "x", "--output", "y", "--epsilon", "-1"),
        ("run", "--images", "{folder}/none", "--output", "{folder}/out"),
        ("run", "--images", "{folder}/images", "--output", "{folder}/out", "--model", "vgg15"),
        ("run", "--images", "{folder}/images", "--output", "{folder}/out", "--network-workers", "90"),
        ("finetune", "--images", "{folder}/none", "--output", "{folder}/out"),
        ("status", "--run", "{folder}/none"),
        ("evaluate", "--runs", "x", "--output"),
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-1:]),
)
def test_errors_in_settings(arguments: tuple[str, ...], tmp_path: Path) -> None:
    write_tiny_set(tmp_path, 2)
    code, names = imported(*(word.format(folder=tmp_path) for word in arguments))
    assert code == 2
    # Where there are GPUs, torch is asked how many.
    assert not names & (WORK - {"torch"} if may_have_gpus() else WORK)


def test_a_dry_run_of_a_method_without_a_network(tmp_path: Path) -> None:
    images, masks = write_tiny_set(tmp_path, 2)
    arguments = ["--images", str(images), "--masks", str(masks), "--output", str(tmp_path / "out"), "--dry-run"]
    code, names = imported("run", *arguments, "--method", "region-contrast")
    assert code == 0
    assert not names & WORK
