"""Folders, lists and tables as people and other tools make them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import SettingsError
from jobs.inputs import listing
from jobs.inputs.manifest import stage_manifest
from jobs.inputs.sources import Inputs, open_inputs, read_images
from jobs.settings import SaliencySettings
from tests.support.image_files import GRADIENT, save


def found(images: Path | str) -> list[str]:
    return [uri for batch in read_images(str(images)) for uri in batch.image_uris]


def masks(images: Path) -> list[str | None]:
    return [uri for batch in read_images(str(images)) for uri in batch.mask_uris]


ODD_KEYS = [
    "s3://bucket/a+b.jpg",
    "s3://bucket/a%2Bb.jpg",
    "s3://bucket/a#b.jpg",
    "s3://bucket/a?b=c&d.jpg",
    "s3://bucket/a//b.jpg",
    "s3://bucket/a b.jpg",
    "s3://bucket/ä;b,c'd.jpg",
]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lists_of_uris(tmp_path: Path, ending: str, mark: str) -> None:
    lines = [*ODD_KEYS, "", "  ", '"s3://bucket/quoted.jpg"', "relative/c.jpg", "/absolute/d.jpg"]
    path = tmp_path / "list.txt"
    path.write_bytes((mark + ending.join(lines)).encode())
    expected = [*ODD_KEYS, "s3://bucket/quoted.jpg", f"{tmp_path}/relative/c.jpg", "/absolute/d.jpg"]
    assert found(path) == expected


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_of_spreadsheets(tmp_path: Path, ending: str, mark: str, delimiter: str) -> None:
    path = tmp_path / "table.csv"
    keys = [*ODD_KEYS, "NA", "null.jpg", 'say "no".jpg', "two\nlines.jpg"]
    quoted = ['"' + key.replace('"', '""') + '"' for key in keys]
    rows = [delimiter.join(("label", "uri", "mask_uri"))]
    rows += [delimiter.join(("", key, '""' if index % 2 else "m.png")) for index, key in enumerate(quoted)]
    path.write_bytes((mark + ending.join([*rows, "", ""])).encode())
    whole = [key if key.startswith("s3:") else f"{tmp_path}/{key}" for key in keys]
    assert found(path) == whole
    assert masks(path) == [None if index % 2 else f"{tmp_path}/m.png" for index in range(len(keys))]


def test_empty_cells_of_parquet_tables(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"uri": ["a.jpg", "b.jpg", "c.jpg"], "mask_uri": ["", None, " "]}), path)
    assert masks(path) == [None] * 3
    pq.write_table(pa.table({"uri": ["a.jpg", " "]}), path)
    with pytest.raises(SettingsError, match="rows without a uri"):
        found(path)


def test_a_uri_that_is_listed_twice_is_said(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("/a.jpg\n/b.jpg\n/a.jpg\n")
    with pytest.raises(SettingsError, match=r"such as /a.jpg\): list every image once"):
        stage_manifest(Inputs(read_images(str(path))))


def test_a_long_list_is_never_held_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with path.open("w") as file:
        file.writelines(f"s3://bucket/{number:07d}.jpg\n" for number in range(30_000))
    batches = read_images(str(path))
    sizes = []
    for batch in batches:
        sizes.append(len(batch.image_uris))
    assert sum(sizes) == 30_000
    assert max(sizes) == 10_000
    assert batch.image_uris[-1] == "s3://bucket/0029999.jpg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mixed"
    root.mkdir()
    for name in ("a.jpg", "b.JFIF", "c.avif", "d.jp2", "e.pgm", "f.heic", "g.jxl"):
        (root / name).write_bytes(save(GRADIENT, "PNG"))
    for name in ("h.psd", "i.psd", "j.svg", "k.CR2", "notes.txt", "l.json", "README", ".hidden", "._a.jpg"):
        (root / name).write_bytes(b"")
    return root


def test_what_is_left_out_of_a_folder_is_counted(folder: Path) -> None:
    inputs = open_inputs(SaliencySettings(output="/out", images=str(folder)))
    staged = stage_manifest(inputs)
    assert staged.images == 7
    assert staged.left_out == {".psd": 2, ".svg": 1, ".cr2": 1, ".txt": 1, ".json": 1, "(no extension)": 1}
    assert listing.described(staged.left_out) == (
        "2 .psd (a Photoshop document: export it as PNG or TIFF), "
        "1 .cr2 (a camera's raw file: develop it to JPEG or TIFF), 1 .svg (a vector drawing: render it to PNG), "
        "1 (no extension), 1 .json, 1 .txt"
    )


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tuple(ending for ending in listing.IMAGE_EXTENSIONS if ending not in (".heic", ".heif", ".jxl"))
    monkeypatch.setattr(listing, "IMAGE_EXTENSIONS", usual)


def test_formats_whose_package_is_missing_are_named(folder: Path, without_packages: None) -> None:
    inputs = open_inputs(SaliencySettings(output="/out", images=str(folder)))
    staged = stage_manifest(inputs)
    assert staged.images == 5
    assert "1 .heic (HEIF is read with pip install 'clamped-erasure-saliency[formats]' on every machine)" in (
        listing.described(staged.left_out)
    )


def test_a_folder_of_nothing_but_unread_formats(tmp_path: Path, without_packages: None) -> None:
    for number in range(3):
        (tmp_path / f"{number}.HEIC").write_bytes(b"")
    (tmp_path / "x.psd").write_bytes(b"")
    (tmp_path / "x.txt").write_bytes(b"")
    with pytest.raises(
        SettingsError, match=r"3 \.heic \(HEIF is read with pip install .*\[formats\].*1 \.psd"
    ) as caught:
        found(tmp_path)
    assert ".txt" not in str(caught.value)


def test_names_that_look_like_extensions_do_not_grow_without_bound(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for number in range(150):
        (tmp_path / f"part.{number}").write_bytes(b"")
    inputs = open_inputs(SaliencySettings(output="/out", images=str(tmp_path)))
    left_out = stage_manifest(inputs).left_out
    assert len(left_out) == 101
    assert sum(left_out.values()) == 150
    assert left_out["(others)"] == 50


def test_masks_in_other_formats_are_paired(tmp_path: Path) -> None:
    for name in ("images/a.jpg", "images/b.avif", "masks/a.jp2", "masks/b.pgm"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(save(np.zeros((4, 4, 3), np.uint8), "PNG"))
    settings = SaliencySettings(output="/out", images=str(tmp_path / "images"), masks=str(tmp_path / "masks"))
    (batch,) = open_inputs(settings).batches
    assert batch.mask_uris == [f"{tmp_path}/masks/a.jp2", f"{tmp_path}/masks/b.pgm"]
