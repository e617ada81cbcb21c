"""The compaction of a run: the same rows in other files, found by id without reading the others."""

import dataclasses
import json
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from pyiceberg.table import StaticTable, Table

from jobs import compact
from jobs.compaction import table_formats
from jobs.compaction.plan import CompactSettings, grouped, make_plan
from jobs.errors import SettingsError
from jobs.run.results_files import read_results
from jobs.storage import files as storage
from saliency_core.imaging.png import decode_png_map
from tests.support.made_runs import MadeRow, make_run


def made_run(folder: Path, count: int = 11) -> str:
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        maps = {stage: generator.integers(0, 256, (12, 16), dtype=np.uint8) for stage in ("raw", "refined")}
        foreground = np.zeros((12, 16), bool)
        foreground[3:9, 4:10] = index != 5
        columns = {"label": index, "label_name": f"class {index % 3}"}
        rows.append(MadeRow(f"s3://bucket/{index:03d}.jpg", maps, foreground, columns))
    rows[7] = MadeRow("s3://bucket/007.jpg", columns={"status": "decode_error", "error": "no image"})
    return make_run(folder, rows)


@pytest.fixture(scope="module")
def compacted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    """The folder of the tables, and all rows of the run in order of id."""
    folder = tmp_path_factory.mktemp("compact")
    run = made_run(folder / "run")
    settings = CompactSettings(run=run, output=str(folder / "tables"), rows_per_scores_file=4, slots=4)
    plan = make_plan(settings)
    files = plan.run.files
    plan = dataclasses.replace(plan, groups=(files[:2], files[2:5], files[5:]))
    counts, tables = compact.run(plan)
    assert tables == {}
    assert (counts["rows"], counts["maps_files"]) == (11, 3)
    return folder / "tables", pa.concat_tables([read_results(file) for file in files]).sort_by("image_id")


@pytest.mark.slow
def test_scores_and_maps_hold_every_row_once_and_unchanged(compacted: tuple[Path, pa.Table]) -> None:
    folder, expected = compacted
    files = sorted((folder / "scores").iterdir())
    assert len(files) >= 3
    assert all(pq.read_metadata(file).num_rows <= 4 for file in files)
    scores = pa.concat_tables([pq.read_table(file) for file in files])
    assert scores["image_id"].to_pylist() == expected["image_id"].to_pylist()  # sorted across the files
    plain = [field.name for field in expected.schema if not pa.types.is_nested(field.type)]
    assert scores.column_names == [*plain, "maps_file"]
    assert scores.select(plain).to_pylist() == expected.select(plain).to_pylist()

    nested = [field.name for field in expected.schema if pa.types.is_nested(field.type)]
    maps = []
    for file in sorted((folder / "maps").iterdir()):
        rows = pq.read_table(file)
        assert rows["image_id"].to_pylist() == sorted(rows["image_id"].to_pylist())
        there = [row["image_id"] for row in scores.to_pylist() if row["maps_file"] == file.name]
        assert rows["image_id"].to_pylist() == there
        maps.append(rows)
    whole = pa.concat_tables(maps).sort_by("image_id")
    assert whole.select(nested).to_pylist() == expected.select(nested).to_pylist()


@pytest.mark.slow
def test_query_engines_find_an_image_and_sum_over_all(compacted: tuple[Path, pa.Table]) -> None:
    folder, expected = compacted
    row = expected.to_pylist()[4]
    scores, maps = f"{folder}/scores/*.parquet", f"{folder}/maps/*.parquet"
    query = f"SELECT map_refined.bytes FROM '{scores}' JOIN '{maps}' USING (image_id) WHERE image_uri = ?"
    ((content,),) = duckdb.execute(query, [row["image_uri"]]).fetchall()
    np.testing.assert_array_equal(decode_png_map(content), decode_png_map(row["map_refined"]["bytes"]))
    counted = duckdb.execute(f"SELECT status, count(*) FROM '{scores}' GROUP BY status ORDER BY status").fetchall()
    assert counted == [("decode_error", 1), ("ok", 10)]
    mean = polars.scan_parquet(scores).select(polars.col("f_beta_refined").mean()).collect().item()
    assert mean == pytest.approx(np.mean([f for f in expected["f_beta_refined"].to_pylist() if f is not None]))


@pytest.mark.slow
def test_files_have_an_index_and_a_filter_on_the_id_and_keep_features(compacted: tuple[Path, pa.Table]) -> None:
    folder, _ = compacted
    for kind in ("scores", "maps"):
        for file in (folder / kind).iterdir():
            with duckdb.connect() as engine:
                query = f"SELECT bloom_filter_offset FROM parquet_metadata('{file}') WHERE column_id = 0"
                found = engine.execute(query).fetchall()
            assert all(offset is not None for (offset,) in found)
            metadata = pq.read_metadata(file)
            assert metadata.row_group(0).column(0).has_column_index
            assert metadata.row_group(0).sorting_columns[0].column_index == 0
            features = json.loads(pq.read_schema(file).metadata[b"huggingface"])["info"]["features"]
            assert list(features) == pq.read_schema(file).names
    card = (folder / "README.md").read_text().split("---")[1]
    names = [(one["config_name"], one["data_files"]) for one in yaml.safe_load(card)["configs"]]
    assert names == [("scores", "scores/*.parquet"), ("maps", "maps/*.parquet")]
    assert json.loads((folder / "_compaction.json").read_text())["rows"] == 11
    assert (folder / "_SUCCESS").exists()


@pytest.mark.slow
def test_an_output_is_replaced_only_where_that_is_asked_for(
    compacted: tuple[Path, pa.Table], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = compacted
    run = str(folder.parent / "run")
    assert compact.main(["--run", run, "--output", str(folder)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    (folder / "scores" / "part-ffffffffffffffff.parquet").write_bytes(b"of an earlier compaction")
    assert compact.main(["--run", run, "--output", str(folder), "--overwrite", "--table-format", "delta"]) == 0
    assert duckdb.execute(f"SELECT count(*) FROM '{folder}/scores/*.parquet'").fetchall() == [(11,)]
    assert f"delta table of maps: {folder}/maps" in capsys.readouterr().out
    for kind in ("scores", "maps"):
        assert_same_rows(DeltaTable(str(folder / kind)).to_pyarrow_table(), folder / kind)


def assert_same_rows(found: pa.Table, folder: Path) -> None:
    expected = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])
    assert found.sort_by("image_id").to_pylist() == expected.sort_by("image_id").to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("configured", [False, True])
def test_iceberg_tables_are_over_the_same_files(
    configured: bool, compacted: tuple[Path, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = compacted
    before = {
        file: file.stat().st_mtime_ns for kind in ("scores", "maps") for file in (folder / kind).glob("*.parquet")
    }
    monkeypatch.setenv("PYICEBERG_HOME", str(tmp_path))  # whoever runs the tests may have a catalogue
    uri = f"sqlite:///{tmp_path}/catalogue.db"
    if configured:
        monkeypatch.setenv("PYICEBERG_CATALOG__DEFAULT__URI", uri)
        monkeypatch.setenv("PYICEBERG_CATALOG__DEFAULT__WAREHOUSE", str(tmp_path / "warehouse"))
    table_formats.check_table_format("iceberg", "made", overwrite=False)
    tables = table_formats.make_tables("iceberg", str(folder), "made")
    for kind in ("scores", "maps"):
        table: Table = StaticTable.from_metadata(tables[kind])
        if configured:
            table = load_catalog("default", uri=uri).load_table(f"made.{kind}")
        assert_same_rows(table.scan().to_arrow(), folder / kind)
        assert tables[kind].startswith(str(tmp_path if configured else folder))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    if configured:
        with pytest.raises(SettingsError, match=r"has made.scores and made.maps already: give --overwrite"):
            table_formats.check_table_format("iceberg", "made", overwrite=False)
        table_formats.check_table_format("iceberg", "made", overwrite=True)
        assert table_formats.make_tables("iceberg", str(folder), "made") != tables


def test_a_table_format_wants_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"needs deltalake: pip install '\.\[delta\]'"):
        table_formats.check_table_format("delta", "saliency", overwrite=False)


def test_what_cannot_be_compacted_is_said_before_any_work(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", 8)
    with pytest.raises(SettingsError, match="must not be the run itself"):
        make_plan(CompactSettings(run=run, output=run))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match="no compaction wrote"):
        make_plan(CompactSettings(run=run, output=str(tmp_path / "other")))
    with pytest.raises(SettingsError, match="file_megabytes must be 1 or more"):
        CompactSettings(run=run, output="out", file_megabytes=0)
    (tmp_path / "run" / "_SUCCESS").unlink()
    with pytest.raises(SettingsError, match="has not finished"):
        make_plan(CompactSettings(run=run, output=str(tmp_path / "out")))
    assert make_plan(CompactSettings(run=run, output=str(tmp_path / "out"), partial=True)).run.files


def test_groups_hold_files_that_follow_each_other() -> None:
    sizes = {"a": 3, "b": 3, "c": 20, "d": 1}
    assert grouped(list(sizes), sizes, 6) == ((("a", "b"), ("c",), ("d",)), 20)


def test_sizes_of_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"123")
    assert storage.file_sizes(str(tmp_path)) == {str(tmp_path / "a" / "one"): 3}
