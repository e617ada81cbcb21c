"""Faults of the surroundings are told from faults of one object, as the real libraries and a real server raise them."""

import datetime
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import botocore.auth
import fsspec
import pytest

from jobs import evaluate, saliency, status
from jobs.errors import StorageError, SurroundingsError, WriteError
from jobs.pipeline.prepare import whole_file
from jobs.storage import files as storage
from jobs.storage import retries
from jobs.storage.surroundings import fault_of_surroundings
from tests.support.ports import free_ports
from tests.support.s3_server import S3Server

SURROUNDINGS = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"]


@pytest.fixture(autouse=True)
def a_machine_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings of this machine's AWS, and no client that a test before has made."""
    for name in SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)
    monkeypatch.setitem(retries.S3_CONFIG, "retries", {"mode": "standard", "total_max_attempts": 1})
    s3 = fsspec.get_filesystem_class("s3")
    s3.clear_instance_cache()
    yield
    s3.clear_instance_cache()


def use(server: S3Server, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    for name, value in (server.environment() | changes).items():
        monkeypatch.setenv(name, value)


def error_of(uri: str) -> Exception:
    (found,) = storage.read_many([uri], 1000)
    assert isinstance(found, Exception)
    return found


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no credentials", "the credentials are missing, wrong or have expired"),
        ("wrong key", "the credentials are missing, wrong or have expired"),
        ("wrong secret", "the credentials are missing, wrong or have expired"),
        ("skewed clock", "this machine's clock is too far from the store's"),
        ("nothing listens", "the store cannot be reached"),
        ("no such host", "the store cannot be reached"),
        ("no tls", "there is no secure connection to the store"),
        ("missing bucket", "there is no such bucket"),
    ],
)
def test_surroundings_that_fail_are_one_sentence(
    kind: str, words: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_server, monkeypatch)
    if not storage.exists("s3://surroundings/"):
        s3_server.make_bucket("surroundings")
        storage.write_bytes("s3://surroundings/a.png", b"content")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    uri = "s3://surroundings/a.png"
    if kind == "no credentials":
        for name in SURROUNDINGS:
            monkeypatch.delenv(name, raising=False)
    elif kind == "wrong key":
        use(s3_server, monkeypatch, AWS_ACCESS_KEY_ID="saliency:nobody")
    elif kind == "wrong secret":
        use(s3_server, monkeypatch, AWS_SECRET_ACCESS_KEY="a-wrong-secret")
    elif kind == "skewed clock":
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now.replace(tzinfo=None))
    elif kind == "nothing listens":
        use(s3_server, monkeypatch, AWS_ENDPOINT_URL=f"http://127.0.0.1:{free_ports(1)[0]}")
    elif kind == "no such host":
        use(s3_server, monkeypatch, AWS_ENDPOINT_URL="http://no-such-host.invalid")
    elif kind == "no tls":
        use(s3_server, monkeypatch, AWS_ENDPOINT_URL=s3_server.endpoint.replace("http:", "https:"))
    else:
        uri = "s3://no-such-bucket/a.png"
    error = error_of(uri)
    fault = fault_of_surroundings(error, uri)
    assert fault is not None, repr(error)
    assert words in fault
    assert uri.rsplit("/", 1)[0] in fault
    assert "\n" not in fault
    with pytest.raises(SurroundingsError, match=words):
        whole_file(uri, error)
    with pytest.raises(WriteError, match=words) as caught:
        storage.write_bytes(uri, b"content")
    assert caught.value.is_of_surroundings
    assert isinstance(error, OSError)  # botocore's own errors are none: readers need not know them


def test_faults_of_an_object_are_none_of_the_surroundings(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(s3_server, monkeypatch)
    if not storage.exists("s3://surroundings/"):
        s3_server.make_bucket("surroundings")
    missing = error_of("s3://surroundings/nowhere.png")
    assert isinstance(missing, FileNotFoundError)
    assert whole_file("s3://surroundings/nowhere.png", missing) is missing
    for error in (PermissionError("x"), TimeoutError("no answer"), OSError(errno.EIO, "x"), ConnectionResetError("x")):
        assert fault_of_surroundings(error, "s3://bucket/x") is None


def test_a_host_that_the_uri_names_is_the_objects_own() -> None:
    gone = socket.gaierror(-2, "Name or service not known")
    assert fault_of_surroundings(gone, "https://example.invalid/a.png") is None
    assert fault_of_surroundings(gone, "s3://bucket/a.png") is not None
    lost_mount = OSError(errno.ESTALE, "Stale file handle")
    assert "lost a mount" in (fault_of_surroundings(lost_mount, "/mnt/photographs/a.png") or "")
    assert fault_of_surroundings(ImportError("no gcsfs"), "gs://bucket/a.png") is not None
    chained = StorageError("x")
    chained.__cause__ = ImportError("no gcsfs")
    assert fault_of_surroundings(chained, "gs://bucket/a.png") is not None


@pytest.mark.parametrize(
    "command",
    [
        lambda output: saliency.main(["--images", "s3://some/images", "--output", output, "--dry-run"]),
        lambda output: saliency.main(["--images", "s3://some/images", "--output", "s3://some/run", "--dry-run"]),
        lambda output: saliency.main(["--images", output, "--weights", "s3://some/w.safetensors", "--output", output]),
        lambda output: evaluate.main(["--runs", "s3://some/run", "--output", output]),
        lambda output: status.main(["--run", "s3://some/run"]),
    ],
)
def test_what_fails_before_anything_is_written_ends_with_two(
    command: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without credentials: botocore's errors are neither OSError nor ValueError."""
    (tmp_path / "a.png").touch()
    assert command(str(tmp_path)) == 2  # type: ignore[operator]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ")
    assert "incomplete" not in said
    assert "Unable to locate credentials" in said
