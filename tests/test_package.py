"""The package as others get it: a wheel, installed where there is no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from jobs.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]
PACKAGES = ("saliency_core", "jobs", "demo")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=source, check=True)
    (path,) = source.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the commands of a fresh environment, which sees the packages that this one has."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    scripts = {"base": str(folder), "platbase": str(folder)}
    places = Path(sysconfig.get_path("purelib", vars=scripts))
    # A line of paths alone: the .pth files in there are not read, so that no editable install shows through.
    (places / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]})
    return folder / "bin"


def test_the_wheel_holds_what_the_packages_read(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    read = {
        str(path.relative_to(ROOT))
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {f"{name}/py.typed" for name in PACKAGES} <= held
    assert read <= held, read - held


@pytest.mark.slow
def test_installed_commands_need_no_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}

    def saliency(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(installed / "saliency"), *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    where = "import jobs, saliency_core; print(jobs.__file__, saliency_core.__file__)"
    found = subprocess.run([installed / "python", "-c", where], cwd=tmp_path, env=environment, capture_output=True)
    assert str(ROOT) not in found.stdout.decode()
    assert found.stdout.decode().count(str(installed.parent)) == 2
    for name in COMMANDS:
        shown = saliency(name, "--help")
        assert shown.returncode == 0, shown.stderr
        assert f"Usage: saliency {name}" in shown.stdout
    planned = saliency(
        "run", "--images", str(ROOT / "demo"), "--output", "out", "--method", "histogram-contrast", "--dry-run"
    )
    assert planned.returncode == 2
    assert "there are no images" in planned.stderr


def test_the_command_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    for wrong in ([], ["walk"]):
        assert main(wrong) == 2
        assert "choose one of run, finetune" in capsys.readouterr().err
