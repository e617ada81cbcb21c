"""The job on files as people have them: what was read of each, and what was left out, is said."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs import saliency
from tests.support.image_files import heif, jpeg_xl, save, textured

pytestmark = pytest.mark.slow


def test_truncated_and_unread_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = textured(60, 80)
    jpeg, png = save(pixels, "JPEG"), save(pixels, "PNG")
    contents = {
        "whole.jpg": jpeg,
        "without marker.jpg": jpeg[:-2],
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": png[: len(png) // 2],
        "half.gif": save(pixels, "GIF")[:2000],
        "photograph.heic": heif(pixels),
        "picture.jxl": jpeg_xl(pixels),
        "layers.psd": b"8BPS",
        "notes.txt": b"",
    }
    images = tmp_path / "images"
    images.mkdir()
    for name, content in contents.items():
        (images / name).write_bytes(content)
    arguments = [
        "--images",
        str(images),
        "--output",
        str(tmp_path / "out"),
        "--method",
        "center-gaussian",
        "--slots",
        "2",
    ]
    assert saliency.main([*arguments, "--accept-truncated"]) == 0
    said = capsys.readouterr().out
    assert "left out  1 .psd (a Photoshop document: export it as PNG or TIFF), 1 .txt" in said
    record = json.loads((tmp_path / "out" / "_run.json").read_text())
    assert record["left_out"] == {".psd": 1, ".txt": 1}
    assert record["settings"]["accept_truncated"] is True
    rows = {Path(row["image_uri"]).name: row for row in pq.read_table(tmp_path / "out" / "results").to_pylist()}
    assert len(rows) == 7
    for name in ("whole.jpg", "without marker.jpg", "photograph.heic", "picture.jxl"):
        assert (rows[name]["status"], rows[name]["share_read"]) == ("ok", 1), name
    for name in ("half.jpg", "half.png"):
        assert rows[name]["status"] == "ok"
        assert 0.2 < rows[name]["share_read"] < 0.8
    assert (rows["half.gif"]["status"], rows["half.gif"]["share_read"]) == ("decode_error", None)
    # Another run of the same settings but this one is another run.
    assert saliency.main(arguments) != 0
    assert "accept_truncated" in capsys.readouterr().err
    assert np.isfinite([row["seconds_decode"] for row in rows.values() if row["status"] == "ok"]).all()
