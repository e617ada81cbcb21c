"""Storage that fails: what is tried again, what is not, and that everything ends in bounded time."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import botocore.exceptions
import fsspec
import pytest

from jobs.errors import WriteError
from jobs.storage import files as storage
from jobs.storage import retries
from jobs.storage.retries import is_permanent, persistently
from tests.support.faulty_proxy import Faults, faulty_proxy
from tests.support.s3_server import S3Server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.01)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        s3_server.make_bucket("faults")
        yield "s3://faults"


@contextmanager
def bad_server(server: S3Server, faults: Faults) -> Iterator[None]:
    """In the block, all S3 goes through a faulty proxy."""
    s3 = fsspec.get_filesystem_class("s3")
    with faulty_proxy(server.endpoint, faults) as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3.clear_instance_cache()  # a client keeps the endpoint that it was made with
        yield
    s3.clear_instance_cache()


def test_attempts_pauses_and_deadline_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(retries, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(time, "sleep", slept.append)
    calls: list[float] = []

    def failing(seconds: float) -> None:
        calls.append(seconds)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        persistently(failing, 100.0)
    assert len(calls) == retries.ATTEMPTS
    assert [pause <= 2**index for index, pause in enumerate(slept)] == [True] * (retries.ATTEMPTS - 1)
    assert 99 < calls[-1] <= 100
    calls.clear()
    with pytest.raises(ConnectionResetError):
        persistently(failing, 0.0)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (FileNotFoundError("x"), True),
        (PermissionError("x"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EINVAL, "bad name"), True),
        (ValueError("x"), True),
        (OSError(errno.EBUSY, "SlowDown"), False),
        (OSError(errno.EIO, "x"), False),
        (TimeoutError("x"), False),
        (ConnectionResetError("x"), False),
    ],
)
def test_what_is_tried_again(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent


def test_a_body_damaged_on_its_way_is_sent_again() -> None:
    error = OSError(errno.EINVAL, "The Content-MD5 you specified did not match")
    assert is_permanent(error)
    error.__cause__ = botocore.exceptions.ClientError({"Error": {"Code": "BadDigest"}}, "PutObject")
    assert not is_permanent(error)


def test_nothing_there_is_asked_for_once(bucket: str, s3_server: S3Server) -> None:
    faults = Faults()
    with bad_server(s3_server, faults), pytest.raises(FileNotFoundError):
        storage.read_bytes(f"{bucket}/nowhere.png")
    assert sum(faults.counts.values()) == 1


def test_every_kind_of_fault_is_survived(bucket: str, s3_server: S3Server) -> None:
    contents = {f"{bucket}/some/{index}": bytes([index]) * 40_000 for index in range(40)}
    faults = Faults(fail=0.3, seed=3)
    with bad_server(s3_server, faults):
        for uri, content in contents.items():
            storage.write_bytes(uri, content)
        assert storage.read_many(list(contents)) == list(contents.values())
        assert storage.list_files(f"{bucket}/some") == sorted(contents)
    assert set(faults.counts) == {"passed", "500", "503", "refuse", "cut"}
    assert sum(faults.counts.values()) - faults.counts["passed"] >= 15


def test_a_silent_server_costs_bounded_time_and_one_row(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes(f"{bucket}/here.png", b"content")
    monkeypatch.setattr(storage, "READ_SECONDS", 2.0)
    with bad_server(s3_server, Faults(stall=1.0, only="here.png")):
        started = time.monotonic()
        (outcome,) = storage.read_many([f"{bucket}/here.png"])
    assert isinstance(outcome, TimeoutError)
    assert "no answer within" in str(outcome)
    assert time.monotonic() - started < 6


def test_a_write_that_keeps_failing_is_one_sentence(
    bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "WRITE_SECONDS", 3.0)
    with (
        bad_server(s3_server, Faults(fail=1.0, only="PUT")),
        pytest.raises(WriteError, match=r"^cannot write s3://faults/x: ") as caught,
    ):
        storage.write_bytes(f"{bucket}/x", b"content")
    assert caught.value.__cause__ is None
    assert s3_server.secret_key not in str(caught.value)


def test_a_full_disk_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(WriteError, match=r"No space left on device"):
        storage.write_bytes(str(tmp_path / "x"), b"content")
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_of_a_file(bucket: str, tmp_path: Path) -> None:
    for folder in (bucket, str(tmp_path)):
        for content in (b"", b"12", b"123", b"1234567"):
            storage.write_bytes(f"{folder}/part", content)
            assert storage.read_bytes(f"{folder}/part", limit=3) == content[:3]
            assert storage.read_bytes(f"{folder}/part") == content


def test_one_request_an_image(bucket: str, s3_server: S3Server) -> None:
    storage.write_bytes(f"{bucket}/one.png", b"content")
    faults = Faults()
    with bad_server(s3_server, faults):
        storage.read_many([f"{bucket}/one.png"], limit=100)
    assert dict(faults.passed) == {"GET /faults/one.png": 1}
