"""The same job from and to an S3 bucket: equal rows, found through the usual AWS environment variables."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs import saliency
from jobs.pipeline.connecting import start_ray
from jobs.run.output import finished_shards
from jobs.run.shards import Segment, Shards
from jobs.storage import files as storage
from tests.support.s3_server import S3Server
from tests.support.tiny_set import QUICK, write_tiny_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        s3_server.make_bucket("photographs")
        # Workers take their environment from the Ray that starts them.
        start_ray(address="local", num_cpus=4, include_dashboard=False)
        yield "s3://photographs"
        ray.shutdown()


def results(output: str) -> pa.Table:
    columns = ["status", "label", "width", "map_raw", "map_refined", "f_beta_refined", "foreground_histogram_smoothed"]
    tables = [
        pq.read_table(pa.BufferReader(storage.read_bytes(uri)), columns=["image_uri", *columns])
        for uri in storage.list_files(f"{output}/results")
    ]
    table = pa.concat_tables(tables)
    names = pa.array([uri.rsplit("/", 1)[-1] for uri in table["image_uri"].to_pylist()])
    return table.set_column(0, "name", names).sort_by("name")


def test_the_job_over_a_bucket_equals_the_local_one(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks = write_tiny_set(tmp_path, 10)
    odd = b"not an image"
    (images / "100 % ünïcode #?[1].png").write_bytes(odd)
    for folder in (images, masks):
        for path in folder.iterdir():
            storage.write_bytes(f"{bucket}/{folder.name}/{path.name}", path.read_bytes())
    local = ["--images", str(images), "--masks", str(masks), "--output", str(tmp_path / "out")]
    remote = ["--images", f"{bucket}/images", "--masks", f"{bucket}/masks/", "--output", f"{bucket}/runs/one"]
    assert saliency.main([*local, *QUICK]) == 0
    assert saliency.main([*remote, *QUICK]) == 0
    assert results(str(tmp_path / "out")) == results(f"{bucket}/runs/one")
    assert results(f"{bucket}/runs/one")["status"].to_pylist().count("decode_error") == 1
    assert storage.exists(f"{bucket}/runs/one/_SUCCESS")
    assert saliency.main([*remote, *QUICK]) == 0
    assert "there is nothing to do" in capsys.readouterr().out
    assert not storage.exists(f"{bucket}/runs/one/_claim.json")


def test_a_bucket_that_is_missing_is_a_settings_error(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert saliency.main(["--images", "s3://no-such-bucket/x", "--output", f"{bucket}/runs/two", *QUICK]) == 2
    assert "no-such-bucket" in capsys.readouterr().err
    assert not storage.exists(f"{bucket}/runs/two")


def test_results_in_one_folder_are_listed_side_by_side(bucket: str) -> None:
    output = f"{bucket}/runs/listed"
    names = ["part-00000001.parquet", "part-00010002.parquet", "part-00000003-5eed.parquet", "part-00020000.parquet"]
    for name in names:
        storage.write_bytes(f"{output}/results/{name}", b"")
    found = storage.list_files_beginning(f"{output}/results", ["part-0000", "part-0001"])
    assert sorted(found) == sorted(f"{output}/results/{name}" for name in names[:3])
    shards = Shards(1, (Segment(0, 10_010),))
    assert finished_shards(output, shards, "").tolist() == [1, 10_002]
    assert finished_shards(output, shards, "5eed").tolist() == [3]
