"""Contact sheets: which rows, in which order, and what stands where there is no picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.contact_sheet import main
from jobs.errors import SettingsError
from jobs.reporting.contact_sheet import _BOX, SIDE, contact_sheet
from jobs.reporting.rows import choose
from saliency_core.imaging.png import encode_png
from tests.support.made_runs import MadeRow, make_run, write_picture

COLOURS = [(200, 30, 30), (30, 160, 30), (40, 60, 210), (220, 180, 20)]
HEIGHT, WIDTH = 30, 40


def coloured_rows(folder: Path, object_columns: tuple[int, ...]) -> list[MadeRow]:
    """Return rows whose image has one colour, whose object is the left half, and whose map covers so many columns."""
    rows = []
    for number, columns in enumerate(object_columns):
        pixels = np.full((HEIGHT, WIDTH, 3), COLOURS[number], np.uint8)
        mask = np.tile(np.arange(WIDTH) < WIDTH // 2, (HEIGHT, 1))
        levels = np.tile(np.arange(WIDTH) < columns, (HEIGHT, 1)) * np.uint8(255)
        uris = {"mask_uri": write_picture(folder / f"mask {number}.png", mask)}
        maps = {"raw": 255 - levels, "refined": levels}
        rows.append(MadeRow(write_picture(folder / f"image {number}.png", pixels), maps, mask, uris))
    return rows


def cell_colours(sheet: Image.Image, row: int, rows: int) -> list[tuple[int, ...]]:
    """Return the colour in the left half of every picture in a row of a sheet whose rows are equally high."""
    pixels = np.asarray(sheet)
    picture_height = round(SIDE * HEIGHT / WIDTH)
    top = round((sheet.height - 102) / rows * row) + 78 + picture_height // 4
    found = []
    for column in range(4):
        left = 24 + column * (SIDE + 14) + SIDE // 8
        found.append(tuple(int(value) for value in pixels[top, left]))
    return found


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("best", [1, 0, 3]),
        ("worst", [2, 3, 0]),
        ("first", [0, 1, 2]),
        ("spread", [1, 3, 2]),
        ("median", [1, 0, 3]),
        (None, [1, 3, 2]),
    ],
)
def test_rows_stand_in_the_order_of_their_scores(tmp_path: Path, order: Any, expected: list[int]) -> None:
    # The object has 20 columns: 20 is right, 24 and 30 are too many, 40 is everything.
    uri = make_run(tmp_path / "run", coloured_rows(tmp_path, (24, 20, 40, 30)))
    sheet = contact_sheet(uri, rows=3, order=order)
    for row, number in enumerate(expected):
        original, raw, refined, mask = cell_colours(sheet, row, rows=3)
        assert original == COLOURS[number]
        assert (raw, refined, mask) == ((0, 0, 0), (255, 255, 255), (255, 255, 255))


def test_choose_takes_the_middle_and_leaves_out_what_has_no_score() -> None:
    f_beta = np.array([0.9, np.nan, 0.1, 0.5, 0.7, 0.3])
    assert choose(f_beta, 3, "median").tolist() == [4, 3, 5]
    assert choose(f_beta, 1, "median").tolist() == [3]
    assert choose(f_beta, 99, "best").tolist() == [0, 4, 3, 5, 2]
    assert choose(f_beta, 99, "worst").tolist() == [2, 5, 3, 4, 0]
    assert choose(f_beta, 3, "spread").tolist() == [0, 3, 2]
    assert choose(f_beta, 2, "first").tolist() == [0, 1]
    assert choose(np.array([np.nan]), 2, "spread").tolist() == []


def test_there_are_no_more_rows_than_images(tmp_path: Path) -> None:
    uri = make_run(tmp_path / "run", coloured_rows(tmp_path, (24, 20)))
    assert contact_sheet(uri, rows=50).size == contact_sheet(uri, rows=2).size


def test_what_cannot_be_fetched_has_a_placeholder(tmp_path: Path) -> None:
    rows = coloured_rows(tmp_path, (24, 20))
    Path(rows[0].uri).unlink()
    Path(str(rows[0].columns["mask_uri"])).write_bytes(b"no mask")
    write_picture(Path(rows[1].uri), np.zeros((5, 5, 3), np.uint8))  # another image than the run has seen
    sheet = contact_sheet(make_run(tmp_path / "run", rows), order="first")
    box = tuple(int(_BOX[index : index + 2], 16) for index in (1, 3, 5))
    assert [cell_colours(sheet, 0, rows=2)[column] for column in (0, 3)] == [box, box]
    assert cell_colours(sheet, 0, rows=2)[2] == (255, 255, 255)
    assert cell_colours(sheet, 1, rows=2)[0] == box


def test_rows_that_failed_and_rows_without_masks_are_shown(tmp_path: Path) -> None:
    levels = np.zeros((HEIGHT, WIDTH), np.uint8)
    name = "a\n\N{RIGHT-TO-LEFT OVERRIDE}" + "very long " * 30 + ".jpg"
    rows = [
        MadeRow(f"/gone/{name}", columns={"status": "decode_error", "error": "no image\n" * 30}),
        MadeRow("/gone/b.jpg", {"raw": levels, "refined": levels}, columns={"label": 3, "label_probability": 0.5}),
    ]
    uri = make_run(tmp_path / "run", rows)
    sheet = contact_sheet(uri)
    assert sheet.size == contact_sheet(uri, order="first").size
    with pytest.raises(SettingsError, match=r"no row of .* has a score"):
        contact_sheet(uri, order="best")


def test_the_command_writes_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = make_run(tmp_path / "run", coloured_rows(tmp_path, (24, 20, 40)), finished=False)
    output = tmp_path / "sheets" / "sheet.png"
    assert main(["--run", uri, "--output", str(output), "--rows", "2", "--dry-run"]) == 0
    assert not output.exists()
    assert main(["--run", uri, "--output", str(output), "--rows", "2", "--order", "worst"]) == 0
    with Image.open(output) as image:
        assert (image.format, image.size) == ("PNG", contact_sheet(uri, rows=2).size)
    for wrong in (["--rows", "0"], ["--order", "nicest"]):
        assert main(["--run", uri, "--output", str(output), *wrong]) == 2
    assert main(["--run", str(tmp_path / "nothing"), "--output", str(output)]) == 2
    assert "there is no run" in capsys.readouterr().err


def test_objects_cut_out_have_a_column(tmp_path: Path) -> None:
    rows = coloured_rows(tmp_path, (24, 20))
    for row in rows:
        cut_out = {"bytes": encode_png(np.full((HEIGHT, WIDTH), 90, np.uint8)), "path": None}
        row.columns = {**row.columns, "segmentation": cut_out, "segmentation_f_beta": 0.5}
    plain = contact_sheet(make_run(tmp_path / "plain", coloured_rows(tmp_path, (24, 20))))
    sheet = contact_sheet(make_run(tmp_path / "run", rows, segmented=True))
    assert sheet.size == (plain.width + SIDE + 14, plain.height)
    assert cell_colours(sheet, 0, rows=2)[3] == (90, 90, 90)


@pytest.mark.real_data
def test_a_photograph_with_its_mask(tmp_path: Path, real_data: Path) -> None:
    photograph = real_data / "ecssd" / "images" / "0001.jpg"
    mask_file = real_data / "ecssd" / "ground_truth_mask" / "0001.png"
    with Image.open(mask_file) as image:
        mask = np.asarray(image.convert("L")) > 127
    rows = [MadeRow(str(photograph), {"refined": mask * np.uint8(255)}, mask, {"mask_uri": str(mask_file)})]
    sheet = np.asarray(contact_sheet(make_run(tmp_path / "run", rows, stages=["refined"])).convert("L"))
    width = round(SIDE * mask.shape[1] / mask.shape[0])
    top, step = 78, SIDE + 14
    pictures = [sheet[top : top + SIDE, 24 + column * step :][:, :width] for column in range(3)]
    assert pictures[0].std() > 20
    np.testing.assert_array_equal(pictures[1], pictures[2])
    assert (pictures[2] > 127).mean() == pytest.approx(mask.mean(), abs=0.01)
