"""Secrets stay out of everything that is written or printed; names of files reach nothing but their rows."""

import io
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from jobs import report, saliency
from jobs.pipeline.connecting import start_ray
from jobs.storage.files import resolve
from jobs.storage.redaction import redacted, shown_uri
from tests.support.image_files import GRADIENT, save
from tests.support.tiny_set import write_tiny_set

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers take their environment from the Ray that starts them.
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        start_ray(address="local", num_cpus=4, include_dashboard=False)
        yield
        ray.shutdown()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host/a.png", "https://host/a.png"),
        ("https://token@host/a.png", "https://host/a.png"),
        ("https://me:p@ss@host/a@b.png", "https://host/a@b.png"),
        ("no s3://me:pass@bucket/key there", "no s3://bucket/key there"),
        ("https://h/a?X-Amz-Credential=A&X-Amz-Signature=f00", "https://h/a"),
        ("az://c/a?sv=1&sig=f%2F00&x=2", "az://c/a?sv=1&sig=***&x=2"),
        ("at gs://b/k?access_token=f00 now", "at gs://b/k?access_token=*** now"),
        ("s3://b/k?AWSAccessKeyId=AKIA0&Signature=f00", "s3://b/k?AWSAccessKeyId=***&Signature=***"),
        ("{'Authorization': 'AWS4-HMAC-SHA256 Credential=A, Signature=f00'}", "{'Authorization': ***"),
        ("abfs://container@account.dfs.core.windows.net/a.png", "abfs://container@account.dfs.core.windows.net/a.png"),
        ("s3://bucket/100 % ünïcode #?[1].png", "s3://bucket/100 % ünïcode #?[1].png"),
        ("/data/mail@home/a.png", "/data/mail@home/a.png"),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_values_of_secret_variables_are_found_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0c2VjcmV0")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/me/key.json")  # a path is no secret
    text = "tried c2VjcmV0c2VjcmV0, hf_abcdefgh and /home/me/key.json"
    assert redacted(text) == "tried ***, *** and /home/me/key.json"


def test_rows_keep_keys_that_look_like_queries() -> None:
    assert shown_uri("s3://bucket/a?token=1.png") == "s3://bucket/a?token=1.png"


def test_credentials_in_the_uri_of_a_bucket_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^s3://bucket/x is given with credentials in it"):
        resolve(f"s3://me:{SECRET}@bucket/x")
    images, _ = write_tiny_set(tmp_path, 1)
    for arguments in (
        ["--images", f"s3://me:{SECRET}@bucket/x", "--output", str(tmp_path / "out")],
        ["--images", str(images), "--output", f"s3://me:{SECRET}@bucket/x"],
        ["--images", str(images), "--output", str(tmp_path / "out"), "--masks", f"s3://me:{SECRET}@bucket/x"],
    ):
        assert saliency.main([*arguments, "--method", "low-level"]) == 2
        printed = capsys.readouterr()
        assert "credentials" in printed.err
        assert SECRET not in printed.out + printed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_no_secret_in_anything_that_a_run_leaves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    closed = "127.0.0.1:1"
    uris = [
        f"{images}/image 000.png",
        f"https://me:{SECRET}@{closed}/a.png",
        f"http://{closed}/b.png?X-Amz-Credential=A&X-Amz-Signature={SECRET}",
        f"/nowhere/{SECRET}.png",  # in the environment as a secret: a name that holds it is shown without
    ]
    (tmp_path / "list.txt").write_text("\n".join(uris))
    arguments = ["--images", str(tmp_path / "list.txt"), "--output", str(tmp_path / "out"), "--method", "low-level"]
    assert saliency.main([*arguments, "--most-failed", "1"]) == 0
    assert report.main(["--runs", str(tmp_path / "out"), "--output", str(tmp_path / "report")]) == 0
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    table = pq.read_table(tmp_path / "out" / "results")
    assert sorted(table["status"].to_pylist()) == ["fetch_error"] * 3 + ["ok"]
    errors = str(table["error"].to_pylist())
    assert SECRET not in errors
    rows = str(table.select(["image_uri", "mask_uri"]).to_pylist()[:])
    assert rows.count(SECRET) == 1  # the file's own name, which is no credential
    assert f"https://{closed}/a.png" in rows
    for folder in ("out", "report"):
        for path in (tmp_path / folder).rglob("*"):
            if path.is_file() and "_manifest" not in path.parts and path.suffix != ".parquet":
                assert SECRET.encode() not in path.read_bytes(), path


class Malice:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.path, "code has run")


def test_weights_that_hold_code_end_the_job_before_it_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, _ = write_tiny_set(tmp_path, 1)
    marker = tmp_path / "marker"
    (tmp_path / "net.pth").write_bytes(pickle.dumps({"features.0.weight": Malice(marker)}))
    arguments = ["--images", str(images), "--output", str(tmp_path / "out"), "--model", "squeezenet1_1"]
    assert saliency.main([*arguments, "--weights", str(tmp_path / "net.pth")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not marker.exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
def test_names_reach_nothing_but_their_rows(tmp_path: Path) -> None:
    """Names that would climb out of a folder, run as a script or as a template, and what job and report write."""
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    names = [
        "<script>alert(1)</script>.png",
        '"><img src=x onerror=alert(1)>.png',
        "{{ 7 * 7 }}{% raw %}.png",
        "..%2f..%2fetc%2fpasswd.png",
        "$(touch marker).png",
        "-rf.png",
    ]
    for name in (name.replace("/", "⁄") for name in names):
        (home / "images" / name).write_bytes(save(GRADIENT, "PNG"))
    Image.fromarray(GRADIENT).save(tmp_path / "outside.png")
    listed = [str(path) for path in sorted((home / "images").glob("*.png"))]
    listed.append(f"{home}/images/../../outside.png")  # a path may climb: the rows' maps go to the output even so
    (tmp_path / "list.txt").write_text("\n".join(listed))
    before = set(tmp_path.rglob("*"))
    out = home / "out"
    arguments = ["--images", str(tmp_path / "list.txt"), "--output", str(out / "run"), "--method", "low-level"]
    assert saliency.main(arguments) == 0
    assert report.main(["--runs", str(out / "run"), "--output", str(out / "report")]) == 0
    written = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(out) for path in written)
    assert pq.read_table(out / "run" / "results")["status"].to_pylist() == ["ok"] * 7
    text = (out / "report" / "report.html").read_text()
    assert "<script" not in text
    assert "<img src=x" not in text
    assert ">49<" not in text


def test_a_picture_in_the_results_is_only_ever_decoded_as_png() -> None:
    from saliency_core.imaging.guards import DecodeError
    from saliency_core.imaging.png import decode_png_map

    buffer = io.BytesIO()
    Image.fromarray(GRADIENT).save(buffer, "TIFF")
    with pytest.raises(DecodeError, match="not a PNG"):
        decode_png_map(buffer.getvalue())
