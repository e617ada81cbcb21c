"""Child process of :mod:`tests.support.s3_server`: OpenStack Swift's four servers, run until standard input closes.

Swift is a proxy server that answers clients, and an account, a container and an object server that keep the
data under one folder. One process forks one worker for each of them. All listening sockets exist before the
fork, so no port is chosen twice, and a request sent too early waits in a backlog instead of failing.

The process ends, and takes its workers with it, when its standard input reaches end of file (whoever started
it closed the pipe, or died in any way) or when a worker dies. Started again on the same folder it serves the
same data.
"""

import argparse
import ctypes
import multiprocessing
import multiprocessing.connection
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

from eventlet.greenio import GreenSocket
from eventlet.semaphore import Semaphore
from swift.common import wsgi
from swift.common.middleware.s3api import s3request
from swift.common.ring import RingBuilder
from swift.common.swob import HTTPPreconditionFailed
from swift.common.wsgi import make_pre_authed_request

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
DEFAULT_SECTION = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
disable_fallocate = true
log_level = WARNING
"""
STORAGE_SECTIONS = """
[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""
PROXY_SECTIONS = """
[pipeline:main]
pipeline = catch_errors gatekeeper memory_cache listing_formats s3api tempauth conditional_writes slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
recoverable_node_timeout = 60

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:gatekeeper]
use = egg:swift#gatekeeper

[filter:memory_cache]
paste.filter_factory = tests.support.swift_service:memory_cache_factory

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api
location = {region}
multi_delete_concurrency = 8

[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret_key} .admin

[filter:conditional_writes]
paste.filter_factory = tests.support.swift_service:conditional_writes_factory

[filter:slo]
use = egg:swift#slo
"""


class MemoryCache:
    """The part of Swift's memcached client that its proxy calls, in the memory of the only proxy.

    Without it every request asks the account and the container server first whether the bucket exists, which
    costs as much again as the request.
    """

    def __init__(self) -> None:
        # key -> (end of validity in seconds of the monotonic clock, value)
        self.entries: dict[str, tuple[float, Any]] = {}

    def get(self, key: str, raise_on_error: bool = False) -> Any:
        end, value = self.entries.get(key, (0.0, None))
        return value if monotonic() < end else None

    def set(self, key: str, value: Any, time: float, raise_on_error: bool = False) -> None:
        self.entries[key] = (monotonic() + time, value)

    def delete(self, key: str) -> None:
        self.entries.pop(key, None)


def memory_cache_factory(global_settings: dict[str, str], **settings: str) -> Callable[[Application], Application]:
    """Return a Paste filter that offers one `MemoryCache` to everything behind it."""
    cache = MemoryCache()

    def add_cache(application: Application) -> Application:
        def with_cache(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ["swift.cache"] = cache
            return application(environ, start_response)

        return with_cache

    return add_cache


class ConditionalWrites:
    """S3's ``If-Match`` of a PUT, which Swift lacks: the object is replaced only where it still has that ETag.

    Nothing else writes to the storage servers than the one proxy that this is a part of, so that a lock for every
    object is as good as what S3 promises. Swift's own ``If-None-Match: *`` is left as it is.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.locks: defaultdict[str, Semaphore] = defaultdict(Semaphore)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("PUT", "DELETE") or environ["PATH_INFO"].count("/") < 4:
            return self.application(environ, start_response)
        wanted = environ.pop("HTTP_IF_MATCH", None)
        with self.locks[environ["PATH_INFO"]]:
            if wanted is not None:
                there = make_pre_authed_request(environ, "HEAD", quote(environ["PATH_INFO"])).get_response(
                    self.application
                )
                # AWS says 404 of an object that is not there, and means the same.
                if not there.is_success or there.headers["Etag"].strip('"') != wanted.strip('"'):
                    return HTTPPreconditionFailed()(environ, start_response)
            # Whole, before the lock is given back.
            return list(self.application(environ, start_response))


def conditional_writes_factory(
    global_settings: dict[str, str], **settings: str
) -> Callable[[Application], Application]:
    """Return a Paste filter that makes `ConditionalWrites`, and have s3api let their requests through."""
    check = s3request.S3Request._validate_headers

    def without_condition(self: Any) -> None:
        condition = self.environ.pop("HTTP_IF_MATCH", None) if self.method == "PUT" else None
        check(self)
        if condition is not None:
            self.environ["HTTP_IF_MATCH"] = condition

    s3request.S3Request._validate_headers = without_condition
    return ConditionalWrites


def write_ring(folder: Path, kind: str, port: int) -> None:
    """Write `kind`.ring.gz: one replica of everything on the only device, served at `port`."""
    builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def serve(configuration: Path, section: str, listener: socket.socket) -> None:
    """Serve one of the four applications on `listener` until killed; the body of a worker."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no worker outlives the process that forked it
    settings, logger, global_settings, _ = wsgi.check_config(str(configuration), section, verbose=True)
    wsgi.run_server(settings, logger, GreenSocket(listener), global_conf=global_settings)


def main() -> int:
    """Run the service as the command line says.

    Returns
    -------
    int
        Exit status: 0 after end of file on standard input, 1 after the death of a worker.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="absolute path of an existing folder for data and settings"
    )
    parser.add_argument("--listener", type=int, required=True, help="inherited descriptor of the proxy's socket")
    parser.add_argument("--access-key", required=True, help="ACCOUNT:USER")
    parser.add_argument("--secret-key", required=True)
    parser.add_argument("--region", required=True)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    account, user = arguments.access_key.split(":")

    (folder / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    # the suffix is part of the path of every stored object: it must be the same at every start on this folder
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = saliency\n")
    listeners = {"proxy": socket.socket(fileno=arguments.listener)}
    sections = {"proxy": PROXY_SECTIONS}
    for kind in ("account", "container", "object"):
        listeners[kind] = socket.create_server(("127.0.0.1", 0), backlog=1024)
        sections[kind] = STORAGE_SECTIONS
        write_ring(folder, kind, port=listeners[kind].getsockname()[1])

    fork = multiprocessing.get_context("fork")
    workers = []
    for kind, listener in listeners.items():
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by accepted connections
        configuration = folder / f"{kind}-server.conf"
        configuration.write_text(
            (DEFAULT_SECTION + sections[kind]).format(
                kind=kind,
                port=listener.getsockname()[1],
                folder=folder,
                region=arguments.region,
                account=account,
                user=user,
                secret_key=arguments.secret_key,
            )
        )
        workers.append(fork.Process(target=serve, args=(configuration, f"{kind}-server", listener), name=kind))
    for worker in workers:
        worker.start()
    for listener in listeners.values():
        listener.close()

    ended = multiprocessing.connection.wait([sys.stdin.fileno(), *(worker.sentinel for worker in workers)])
    dead = [worker for worker in workers if worker.sentinel in ended]
    for worker in dead:
        worker.join()
        print(f"the {worker.name} server ended by itself, exit code {worker.exitcode}", file=sys.stderr)
    for worker in workers:
        worker.kill()
        worker.join()
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
