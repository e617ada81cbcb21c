"""The rooms of the house: its rules are kept, and break where they are broken."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BREACHES = {
    "The rooms of jobs": ("jobs/run/layout.py", "import jobs.planning.plan"),
    "The rooms of the core": ("saliency_core/imaging/guards.py", "import saliency_core.methods.registry"),
    "The core imports neither Ray": ("saliency_core/scoring/data_set.py", "import fsspec"),
    "Scoring needs no other room": ("saliency_core/scoring/histograms.py", "import saliency_core.imaging.guards"),
    "Ray is imported in": ("jobs/storage/hashing.py", "import ray"),
}


def kept(folder: Path) -> dict[str, bool]:
    """Say of every rule whether the packages in a folder keep it."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"COLUMNS": "400"})
    rules = re.findall(r"^(.+?) (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    assert rules, done.stdout + done.stderr
    return {name: word == "KEPT" for name, word in rules}


def test_the_rules_are_kept_and_a_breach_of_each_is_found(tmp_path: Path) -> None:
    assert set(kept(ROOT).values()) == {True}
    for name in ("saliency_core", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in BREACHES.values():
        path = tmp_path / file
        path.write_text(path.read_text() + f"\n{line}\n")
    found = kept(tmp_path)
    for rule in BREACHES:
        (broken,) = (not is_kept for name, is_kept in found.items() if name.startswith(rule))
        assert broken, rule
