import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import botocore.exceptions
import numpy as np
import pyarrow.fs
import pytest
import s3fs

from tests.support.s3_server import S3Server, running_s3_server

MIB = 1 << 20
AWKWARD_NAMES = [
    "two words.jpg",
    " leading and trailing ",
    "Größe-日本語-🐟.png",
    "cafe\u0301.png",  # decomposed: must not be normalised to the composed form
    "100%.jpg",
    "a%20b.jpg",  # must not be decoded to "a b.jpg"
    "%2F.jpg",
    "one+two=3&four?five#six.jpg",
    'quote\'d "name" <tag>.jpg',
    "back\\slash.jpg",
]


def listens(endpoint: str) -> bool:
    """Say whether anything accepts connections at an address http://HOST:PORT."""
    address = urllib.parse.urlsplit(endpoint)
    with socket.socket() as client:
        return client.connect_ex((str(address.hostname), int(address.port or 0))) == 0


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    s3_server.make_bucket("server-tests")
    return "server-tests"


@pytest.fixture
def filesystem(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> s3fs.S3FileSystem:
    """An s3fs that knows of the server from the environment alone."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3fs.S3FileSystem(skip_instance_cache=True)


@pytest.fixture
def arrow_filesystem(s3_server: S3Server) -> pyarrow.fs.S3FileSystem:
    return pyarrow.fs.S3FileSystem(
        access_key=s3_server.access_key,
        secret_key=s3_server.secret_key,
        region=s3_server.region,
        endpoint_override=s3_server.endpoint,
        allow_delayed_open=True,  # one request for a small file instead of a multipart upload's three
    )


def test_s3fs_needs_only_the_environment(filesystem: s3fs.S3FileSystem, bucket: str) -> None:
    filesystem.pipe({f"{bucket}/plain/a": b"first", f"{bucket}/plain/sub/b": b"second"})
    assert filesystem.cat_file(f"{bucket}/plain/a") == b"first"
    assert filesystem.cat_file(f"{bucket}/plain/sub/b", start=1, end=4) == b"eco"
    assert filesystem.ls(f"{bucket}/plain", detail=False) == [f"{bucket}/plain/a", f"{bucket}/plain/sub"]
    assert filesystem.find(f"{bucket}/plain") == [f"{bucket}/plain/a", f"{bucket}/plain/sub/b"]
    filesystem.pipe_file(f"{bucket}/plain/a", b"overwritten")
    assert filesystem.info(f"{bucket}/plain/a")["size"] == len(b"overwritten")
    filesystem.rm(f"{bucket}/plain", recursive=True)
    assert not filesystem.exists(f"{bucket}/plain/a")


def test_pyarrow_reaches_the_server_by_endpoint(arrow_filesystem: pyarrow.fs.S3FileSystem, bucket: str) -> None:
    with arrow_filesystem.open_output_stream(f"{bucket}/arrow/a") as stream:
        stream.write(b"arrow writes")
    with arrow_filesystem.open_input_file(f"{bucket}/arrow/a") as file:
        assert file.read_at(6, 6) == b"writes"
    (listed,) = arrow_filesystem.get_file_info(pyarrow.fs.FileSelector(f"{bucket}/arrow"))
    assert (listed.path, listed.size) == (f"{bucket}/arrow/a", 12)


def test_pyarrow_reaches_the_server_by_environment(filesystem: s3fs.S3FileSystem, bucket: str) -> None:
    filesystem.pipe_file(f"{bucket}/arrow-environment", b"content")
    found, path = pyarrow.fs.FileSystem.from_uri(f"s3://{bucket}/arrow-environment")
    with found.open_input_file(path) as file:
        assert file.read() == b"content"


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_awkward_names_come_back_unchanged(
    filesystem: s3fs.S3FileSystem, arrow_filesystem: pyarrow.fs.S3FileSystem, bucket: str, name: str
) -> None:
    folder = f"{bucket}/awkward-{AWKWARD_NAMES.index(name)}"
    filesystem.pipe_file(f"{folder}/{name}", name.encode())
    assert filesystem.cat_file(f"{folder}/{name}") == name.encode()
    assert filesystem.find(folder) == [f"{folder}/{name}"]
    with arrow_filesystem.open_input_file(f"{folder}/{name}") as file:
        assert file.read() == name.encode()


@pytest.mark.slow
def test_a_prefix_of_more_than_1000_keys_is_paged(
    s3_server: S3Server, filesystem: s3fs.S3FileSystem, arrow_filesystem: pyarrow.fs.S3FileSystem, bucket: str
) -> None:
    paths = [f"{bucket}/many/{number:04d}" for number in range(1100)]

    def write(path: str) -> None:
        with arrow_filesystem.open_output_stream(path) as stream:
            stream.write(b"x")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, paths))
    page = s3_server.client().list_objects_v2(Bucket=bucket, Prefix="many/")
    assert page["IsTruncated"]
    assert page["KeyCount"] == 1000
    assert filesystem.ls(f"{bucket}/many", detail=False) == paths
    assert filesystem.find(f"{bucket}/many") == paths
    listed = arrow_filesystem.get_file_info(pyarrow.fs.FileSelector(f"{bucket}/many"))
    assert sorted(info.path for info in listed) == paths


def test_multipart_upload(filesystem: s3fs.S3FileSystem, bucket: str) -> None:
    content = np.random.default_rng(0).bytes(17 * MIB + 1)
    path = f"{bucket}/multipart"
    with filesystem.open(path, "wb", block_size=8 * MIB) as file:
        for start in range(0, len(content), MIB):
            file.write(content[start : start + MIB])
        assert not filesystem.exists(path)  # nothing is visible before the upload is completed
    info = filesystem.info(path)
    assert info["size"] == len(content)
    assert info["ETag"].strip('"').split("-")[1:] == ["3"]  # number of parts
    assert filesystem.cat_file(path) == content
    assert filesystem.cat_file(path, start=8 * MIB - 3, end=8 * MIB + 3) == content[8 * MIB - 3 : 8 * MIB + 3]


def test_missing_key_and_missing_bucket(filesystem: s3fs.S3FileSystem, bucket: str) -> None:
    for path in (f"{bucket}/absent", "no-such-bucket/absent"):
        with pytest.raises(FileNotFoundError):
            filesystem.cat_file(path)
        with pytest.raises(FileNotFoundError):
            filesystem.info(path)


def test_wrong_secret_is_refused(s3_server: S3Server, bucket: str) -> None:
    stranger = S3Server(s3_server.endpoint, s3_server.access_key, "wrong", s3_server.region)
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        stranger.client().list_objects_v2(Bucket=bucket)


def test_data_outlive_the_server_and_nothing_listens_after_it(tmp_path: Path) -> None:
    with running_s3_server(tmp_path) as first:
        first.make_bucket("kept")
        first.client().put_object(Bucket="kept", Key="key", Body=b"durable")
        assert listens(first.endpoint)
    assert not listens(first.endpoint)
    with running_s3_server(tmp_path) as second:
        assert second.client().get_object(Bucket="kept", Key="key")["Body"].read() == b"durable"
    assert not listens(second.endpoint)


def test_the_log_is_shown_when_the_start_fails(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("a file where the service needs a folder")
    with (
        pytest.raises(RuntimeError, match=r"did not start[\s\S]*NotADirectoryError"),
        running_s3_server(tmp_path),
    ):
        pass


@pytest.fixture
def command(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.s3_server",
            "--folder",
            str(tmp_path / "new"),
            "--bucket",
            "made-by-command",
        ],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_command_serves_until_it_ends_in_any_way(
    command: "subprocess.Popen[str]", number: signal.Signals, status: int
) -> None:
    assert command.stdout is not None
    lines = [command.stdout.readline() for _ in range(5)]
    variables = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    server = S3Server(
        endpoint=variables["AWS_ENDPOINT_URL"],
        access_key=variables["AWS_ACCESS_KEY_ID"],
        secret_key=variables["AWS_SECRET_ACCESS_KEY"],
        region=variables["AWS_REGION"],
    )
    assert variables == server.environment()
    assert [found["Name"] for found in server.client().list_buckets()["Buckets"]] == ["made-by-command"]
    command.send_signal(number)
    assert command.wait(timeout=30) == status
    deadline = time.monotonic() + 10
    while listens(server.endpoint) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not listens(server.endpoint)
