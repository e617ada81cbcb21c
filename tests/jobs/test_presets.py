"""Presets: constants to start from, each of which can be given otherwise."""

import json
from pathlib import Path

import pydantic  # the way of parsing depends on whether it is loaded, as it is by Ray
import pytest

from jobs.console.command_line import parse_settings
from jobs.errors import SettingsError
from jobs.settings import SaliencySettings
from saliency_core.parameters import (
    ErasureParameters,
    ObjectParameters,
    SaliencyParameters,
    ViewParameters,
    preset,
    preset_options,
)

assert pydantic


def settings(*arguments: str) -> SaliencySettings:
    parsed, _ = parse_settings(SaliencySettings, ["--images", "there", "--output", "here", *arguments])
    return parsed


def test_the_default_is_the_default() -> None:
    assert settings().parameters == settings("--preset", "default").parameters == preset("default")
    assert preset("default") == SaliencyParameters()
    assert settings().stages == ("raw", "smoothed", "refined", "objects")


def test_the_paper_is_the_published_method() -> None:
    found = settings("--preset", "paper")
    assert found.parameters == preset("paper")
    assert found.erasure == ErasureParameters(epsilon=0.1, gamma=2e-3, iterations=10, erased_classes=1)
    assert (found.views.sizes, found.views.mirror) == ((1.0,), False)
    assert found.stages == ("raw", "smoothed", "refined")
    assert found.recorded()["preset"] == "paper"
    assert found.recorded()["erasure"]["iterations"] == 10


@pytest.mark.parametrize("name", ["paper", "fast", "best"])
def test_a_preset_is_the_same_in_python_and_on_the_command_line(name: str) -> None:
    found = settings("--preset", name)
    assert found.parameters == SaliencySettings(images="there", output="here", preset=name).parameters == preset(name)  # type: ignore[arg-type]
    assert found.parameters != SaliencyParameters()
    assert preset_options(name)


def test_what_is_given_wins_over_the_preset_and_the_rest_stays(tmp_path: Path) -> None:
    assert settings("--preset", "paper", "--gamma", "0.5").erasure == ErasureParameters(
        gamma=0.5, iterations=10, erased_classes=1
    )
    # Also where what is given is the default's own value.
    default = str(ErasureParameters().iterations)
    assert settings("--preset", "paper", "--iterations", default).erasure.iterations == int(default)
    assert settings("--preset", "paper", "--objects").objects == ObjectParameters()
    assert settings("--object-segments", "50", "70").objects == ObjectParameters(object_segments=(50, 70))
    assert settings("--sizes", "1.0", "0.5", "--mirror").views == ViewParameters(sizes=(1.0, 0.5), mirror=True)
    file = tmp_path / "settings.yaml"
    file.write_text("preset: paper\ngamma: 0.25\n")
    assert settings("--config", str(file)).erasure == ErasureParameters(gamma=0.25, iterations=10, erased_classes=1)
    assert settings("--config", str(file), "--iterations", "4").erasure.iterations == 4


def test_the_name_alone_does_not_make_other_results() -> None:
    by_name, by_value = (
        settings("--preset", "paper"),
        settings("--no-objects", "--iterations", "10", "--erased-classes", "1"),
    )
    assert by_name.fingerprint(None, "") == by_value.fingerprint(None, "")
    assert by_name.fingerprint(None, "") != settings().fingerprint(None, "")
    assert not by_name.differences(json.loads(json.dumps(by_value.recorded())))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(SettingsError, match="slow"):
        settings("--preset", "slow")
    with pytest.raises(SettingsError, match="choose one of paper, fast, default, best"):
        SaliencySettings(images="there", output="here", preset="slow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no preset 'slow'"):
        preset("slow")


@pytest.mark.parametrize("arguments", [("--object-segments", "0"), ("--appearance-rounds", "-1"), ("--adjacency", "0")])
def test_impossible_constants_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=arguments[0].removeprefix("--").replace("-", "_")):
        settings(*arguments)
