"""What a sample of a run's maps is, and which runs cannot teach; no Ray."""

from pathlib import Path

import numpy as np
import pytest

from jobs.distillation import teacher as module
from jobs.distillation.settings import DistilSettings
from jobs.distillation.teacher import find_teacher, on_grid, trust
from jobs.errors import SettingsError
from saliency_core.imaging.png import encode_png
from tests.support.made_runs import MadeRow, make_run


def settings(run: str, **given: object) -> DistilSettings:
    return DistilSettings(run=run, output="nowhere", **given)  # type: ignore[arg-type]


def made(folder: Path, count: int = 12, **given: object) -> str:
    generator = np.random.default_rng(0)
    rows = [
        MadeRow(
            f"/bucket/images/{index:02d}.png",
            {stage: generator.integers(0, 256, (20, 30), dtype=np.uint8) for stage in ("raw", "refined")},
            columns={"label_probability": 0.5, "logit_before": 4.0, "logit_after": 1.0},
        )
        for index in range(count)
    ]
    return make_run(folder, rows, rows_per_file=4, **given)  # type: ignore[arg-type]


def test_a_map_on_a_grid_is_the_mean_of_each_cell_after_stretching() -> None:
    levels = np.random.default_rng(1).integers(30, 200, (12, 20), dtype=np.uint8)
    stretched = (levels - levels.min()) * (255 / (int(levels.max()) - int(levels.min())))
    cells = stretched.reshape(4, 3, 4, 5).mean(axis=(1, 3))
    found = on_grid(encode_png(levels), 4)
    assert found is not None
    np.testing.assert_allclose(found, cells, atol=1)
    assert on_grid(encode_png(np.full((5, 5), 7, np.uint8)), 4) is None


def test_rows_without_a_network_are_trusted_alike() -> None:
    nothing = {"label_probability": None, "logit_before": None, "logit_after": None}
    assert trust(nothing, "both") == 1.0
    poor = {"label_probability": 0.001, "logit_before": 2.0, "logit_after": 5.0}
    assert trust(poor, "both") == module.LEAST_TRUST


def test_the_teacher_is_the_last_stage_of_a_finished_run(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    assert find_teacher(settings(run)).stage == "refined"
    assert find_teacher(settings(run, stage="raw")).stage == "raw"
    with pytest.raises(SettingsError, match="no stage 'smooth'"):
        find_teacher(settings(run, stage="smooth"))
    with pytest.raises(SettingsError, match="not finished"):
        find_teacher(settings(made(tmp_path / "half", finished=False)))


def test_images_that_have_moved_are_found_by_their_name_below_the_folder(tmp_path: Path) -> None:
    found = find_teacher(settings(made(tmp_path / "run"), images="s3://elsewhere/photographs"))
    assert found.moved == (str(Path("images").absolute()), "s3://elsewhere/photographs")
    inside = f"{found.moved[0]}/a b/1.png"
    assert found.located(inside) == "s3://elsewhere/photographs/a b/1.png"
    with pytest.raises(SettingsError, match="leave --images out"):
        found.located("/bucket/images/1.png")


def test_rows_of_a_file_are_drawn_by_lot_and_no_more_than_asked(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    teacher = find_teacher(settings(run, trust="both"))
    all_rows = module._read_file(teacher, settings(run, trust="both"), 4, 1, 10)
    assert len(all_rows) == 4
    assert set(all_rows["weight"].to_pylist()) == {0.375}
    two = module._read_file(teacher, settings(run), 4, 1, 2)
    assert two["image_id"].to_pylist() == all_rows["image_id"].to_pylist()[:2]
    other = [module._read_file(teacher, settings(run, seed=seed), 4, 1, 2) for seed in range(8)]
    assert len({tuple(sorted(rows["image_id"].to_pylist())) for rows in other}) > 1


def test_settings_that_make_no_sense_are_refused() -> None:
    for given, message in (
        ({"own_share": 1.0}, "own_share"),
        ({"folds": 1}, "folds must be 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ):
        with pytest.raises(SettingsError, match=message):
            settings("run", **given)
