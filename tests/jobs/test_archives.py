"""The job over tars and Parquet: a row an image, masks beside images, resume, and every command that opens images."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import contact_sheet, evaluate, report, saliency
from jobs.inputs.archives import reading
from tests.support.archives import image_table, tar_bytes, write_parquet
from tests.support.tiny_set import write_tiny_set

pytestmark = pytest.mark.slow

HC = ["--method", "histogram-contrast", "--rows-per-file", "4"]


def rows(output: Path) -> dict[str, dict[str, Any]]:
    return {row["image_uri"]: row for path in (output / "results").iterdir() for row in pq.read_table(path).to_pylist()}


def test_the_job_over_archives_equals_the_one_over_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks = write_tiny_set(tmp_path, 10)
    names = sorted(path.name for path in images.iterdir())
    members: list[dict[str, bytes]] = [{}, {}]
    for index, name in enumerate(names[:6]):
        stem = name.removesuffix(".png")
        members[index // 3] |= {f"{stem}.json": b"{}", name: (images / name).read_bytes()}
        members[index // 3] |= {f"{stem}.mask.png": (masks / name).read_bytes()}
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "00000.tar").write_bytes(tar_bytes(members[0]))
    (shards / "00001.tar").write_bytes(tar_bytes(members[1])[:-12000])
    contents = [[(folder / name).read_bytes() for name in names[6:]] for folder in (images, masks)]
    write_parquet(image_table(contents[0], [*contents[1][:-1], None]), shards / "part.parquet", 3)
    output, plain = tmp_path / "out", tmp_path / "plain"
    options = ["--images", str(shards), "--output", str(output), *HC]
    assert saliency.main(options) == 0
    assert saliency.main(["--images", str(images), "--masks", str(masks), "--output", str(plain), *HC]) == 0
    found, expected = rows(output), rows(plain)
    (fault,) = [uri for uri in found if uri.startswith(f"{shards}/00001.tar#@")]
    assert found[fault]["status"] == "fetch_error"
    assert f"cannot be read from byte {fault.rsplit('@', 1)[1]} on" in found[fault]["error"]
    names_of = {f"{shards}/{index // 3:05d}.tar#{name}": name for index, name in enumerate(names[:6])}
    names_of |= {f"{shards}/part.parquet#image/{index}": name for index, name in enumerate(names[6:])}
    readable = {uri: name for uri, name in names_of.items() if uri in found}
    assert len(readable) == len(found) - 1 >= 8
    for uri, name in readable.items():
        row, other = found[uri], expected[f"{images}/{name}"]
        assert row["status"] == "ok", row["error"]
        assert row["map_saliency"] == other["map_saliency"]
        has_mask = uri != f"{shards}/part.parquet#image/3"
        assert row["f_beta_saliency"] == (other["f_beta_saliency"] if has_mask else None)

    # A shard of rows that was lost is done again, and nothing else; the archives are not listed for it.
    before = {path: path.stat().st_mtime_ns for path in (output / "results").iterdir()}
    lost = sorted(before)[1]
    lost.unlink()
    assert saliency.main(options) == 0
    assert [path for path, time in before.items() if path.stat().st_mtime_ns != time] == [lost]
    assert rows(output).keys() == found.keys()
    capsys.readouterr()
    assert saliency.main([*options, "--extend"]) == 0
    assert "extend    0 new images" in capsys.readouterr().out

    # Later commands know the rows' URIs alone.
    reading._indexed.cache_clear()
    sheet, page, scores = tmp_path / "sheet.png", tmp_path / "report", tmp_path / "scores"
    assert contact_sheet.main(["--run", str(output), "--output", str(sheet)]) == 0
    assert report.main(["--runs", str(output), "--output", str(page)]) == 0
    assert evaluate.main(["--runs", str(output), str(plain), "--output", str(scores), "--structure-scores"]) == 0
    said = capsys.readouterr()
    assert "not reachable" not in (page / "report.html").read_text() + said.out + said.err
