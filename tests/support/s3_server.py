"""A real S3 server on the loopback interface, for tests and benchmarks.

The server is OpenStack Swift with its ``s3api`` and ``tempauth`` middleware: it writes objects to disk with
fsync, pages listings at 1000 keys, checks signatures and joins multipart uploads, as object stores in
production do. It runs in child processes, on ports that the kernel picks, and ends with the process that
started it.

``python -m tests.support.s3_server --folder DIR`` serves until interrupted and prints the variables to export.
"""

import argparse
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

LOG_TAIL_LINES = 40
START_SECONDS = 60
STOP_SECONDS = 20


@dataclass(frozen=True)
class S3Server:
    """Where a running server is reached, and the only user's credentials.

    Attributes
    ----------
    endpoint : str
        Address without a trailing slash, ``http://127.0.0.1:PORT``.
    access_key, secret_key : str
        Credentials of a user who owns every bucket. The access key holds a colon.
    region : str
        Region that requests have to be signed for.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str

    def environment(self) -> dict[str, str]:
        """Return the variables that lead botocore, s3fs and Arrow's ``FileSystem.from_uri`` to this server.

        ``pyarrow.fs.S3FileSystem()`` takes the credentials and the region from them, but needs
        ``endpoint_override=server.endpoint``: it does not read AWS_ENDPOINT_URL.
        """
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }

    def client(self) -> Any:
        """Return a new botocore client of this server that retries nothing and uses no HTTP proxy."""
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=botocore.config.Config(read_timeout=START_SECONDS, retries={"total_max_attempts": 1}, proxies={}),
        )

    def make_bucket(self, name: str) -> None:
        """Create an empty bucket.

        Parameters
        ----------
        name : str
            3 to 63 lower-case letters, digits, hyphens and dots.

        Raises
        ------
        botocore.exceptions.ClientError
            If the name is not allowed.
        """
        self.client().create_bucket(Bucket=name)


@contextmanager
def running_s3_server(folder: Path, host: str = "127.0.0.1") -> Iterator[S3Server]:
    """Run a server for the length of a ``with`` block; inside it, requests are answered.

    Parameters
    ----------
    folder : Path
        Existing folder for data, settings and the log file ``server.log``. Its file system must have
        extended attributes in the ``user`` namespace, as ext4, xfs and btrfs do. What an earlier server
        stored there is served again.
    host : str
        IPv4 address of this machine to serve at.

    Yields
    ------
    S3Server
        Address and credentials.

    Raises
    ------
    RuntimeError
        If the server does not answer; the message ends with the tail of its log.
    """
    log_path = folder / "server.log"
    with socket.create_server((host, 0), backlog=1024) as listener, log_path.open("ab") as log:
        server = S3Server(
            endpoint=f"http://{host}:{listener.getsockname()[1]}",
            access_key="saliency:tester",
            secret_key="testing",
            region="us-east-1",
        )
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.swift_service"),
                *("--folder", str(folder.resolve()), "--listener", str(listener.fileno())),
                *("--access-key", server.access_key, "--secret-key", server.secret_key),
                *("--region", server.region),
            ],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # an interrupt from the terminal goes to the tests, which stop the server
        )
    try:
        try:
            server.client().list_buckets()  # waits in the listener's backlog until the server takes it
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            _stop(process)
            tail = log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise RuntimeError("\n".join([f"the S3 server did not start ({error}); its log:", *tail])) from error
        yield server
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Tell the service to end by closing its standard input, and wait until it has."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """Serve from the folder that the command line names until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve S3 until interrupted, on the loopback interface unless told.")
    parser.add_argument("--folder", type=Path, required=True, help="where the data are kept; made if missing")
    parser.add_argument("--bucket", action="append", default=[], help="make this bucket; may be repeated")
    parser.add_argument("--host", default="127.0.0.1", help="address of this machine to serve at")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    with running_s3_server(arguments.folder, arguments.host) as server:
        for bucket in arguments.bucket:
            server.make_bucket(bucket)
        for name, value in server.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        sys.stdout.flush()
        interrupted.wait()


if __name__ == "__main__":
    main()
