"""A proxy on the loopback interface that makes a good S3 server a bad one: errors, cut connections, stalls.

It stands in front of `tests.support.s3_server` and passes requests on as they are, the ``Host`` header too, so that
their signatures stay valid. Which requests fail is drawn from a seeded generator, in the order in which they arrive.

``python -m tests.support.faulty_proxy --upstream http://127.0.0.1:PORT --fail 0.05 --stall 0.01``
serves until interrupted.
"""

import argparse
import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FAILURES = ("500", "503", "refuse", "cut")
"""An answer of the server, a connection closed before it, and one closed in its middle."""
DELIVERIES = ("late", "unanswered", "twice")
"""A request that reaches the server when the client has given it up, one of which the answer is lost, and one that
reaches it again later, though the client has its answer."""


@dataclass
class Faults:
    """What goes wrong, and what did.

    Parameters
    ----------
    fail : float
        Share of requests that fail, 0 to 1, in one of `FAILURES` drawn at random.
    stall : float
        Share of requests that get no answer for `stall_seconds`, and then none.
    stall_seconds : float
    seed : int
    kinds : tuple of str
        Of `FAILURES` and `DELIVERIES`: what may befall a request that fails.
    release : threading.Event
        When it is set, requests of the kind "late" reach the server, and those of the kind "twice" again.
    only : str
        Requests without this text in their first line ("PUT", "/images/") pass.

    Attributes
    ----------
    counts : Counter of str
        Requests by what befell them; "passed" for those that were answered.
    passed : Counter of str
        First lines of requests that were answered with success: "GET /bucket/key".
    delivered : list of str
        The server's status codes of requests that befell one of `DELIVERIES`.
    """

    fail: float = 0.0
    stall: float = 0.0
    stall_seconds: float = 60.0
    seed: int = 0
    only: str = ""
    kinds: tuple[str, ...] = FAILURES
    release: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    delivered: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._generator = random.Random(self.seed)

    def draw(self, request: str) -> str:
        """Decide the fate of a request: one of `kinds`, "stall" or "passed"."""
        if self.only not in request:
            return "passed"
        number = self._generator.random()
        if number < self.fail:
            return self._generator.choice(self.kinds)
        return "stall" if number < self.fail + self.stall else "passed"


@contextmanager
def faulty_proxy(upstream: str, faults: Faults, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve in a thread for the length of a ``with`` block; yield the address to use in place of `upstream`."""
    loop = asyncio.new_event_loop()
    started = threading.Event()
    address: list[str] = []
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(lambda r, w: _serve(r, w, upstream, faults), host, 0, limit=2**20)
        address.append(f"http://{host}:{server.sockets[0].getsockname()[1]}")
        started.set()
        async with server:
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    started.wait()
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        if tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks))
        loop.close()


_serving: set[asyncio.Task[None]] = set()  # the event loop itself holds its tasks weakly


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: str, faults: Faults) -> None:
    """Answer one request; every connection carries one."""
    task = asyncio.current_task()
    assert task is not None
    _serving.add(task)
    task.add_done_callback(_serving.discard)
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        head = await reader.readuntil(b"\r\n\r\n")
        request = head.split(b"\r\n", 1)[0].decode("latin-1").rsplit(" ", 1)[0]
        fate = faults.draw(request)
        faults.counts[fate] += 1
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        length = int(headers.get(b"content-length", 0))
        if fate == "stall":
            await asyncio.sleep(faults.stall_seconds)
        elif fate in ("500", "503"):
            if headers.get(b"expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await reader.readexactly(length)
            code = "InternalError" if fate == "500" else "SlowDown"
            body = f"<Error><Code>{code}</Code><Message>a fault on purpose</Message></Error>".encode()
            writer.write(f"HTTP/1.1 {fate} x\r\nContent-Type: application/xml\r\nConnection: close\r\n".encode())
            writer.write(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        elif fate in DELIVERIES:
            await _deliver(fate, head, await _body(reader, writer, headers, length), writer, upstream, faults)
        elif fate != "refuse":
            await _pass(head, length, reader, writer, upstream, cut=fate == "cut", faults=faults, request=request)
    writer.close()


async def _body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[bytes, bytes], length: int
) -> bytes:
    if headers.get(b"expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return await reader.readexactly(length)


async def _deliver(
    fate: str, head: bytes, body: bytes, writer: asyncio.StreamWriter, upstream: str, faults: Faults
) -> None:
    """Bring a request to the server at another time, or more often, than the client thinks."""
    first, rest = head.split(b"\r\n", 1)
    lines = [line for line in rest.split(b"\r\n") if not line.lower().startswith(b"expect:")]
    whole = first + b"\r\nConnection: close\r\n" + b"\r\n".join(lines) + body

    async def send() -> bytes:
        parts = urlsplit(upstream)
        up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
        up_writer.write(whole)
        answer = await up_reader.read()
        up_writer.close()
        faults.delivered.append(answer.split(b" ", 2)[1].decode())
        return answer

    async def released() -> None:
        while not faults.release.is_set():
            await asyncio.sleep(0.02)

    if fate == "late":
        await released()
        await send()
        return
    answer = await send()
    if fate == "twice":
        writer.write(answer)
        await writer.drain()
        writer.close()
        await released()
        await send()


async def _pass(
    head: bytes,
    length: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    upstream: str,
    *,
    cut: bool,
    faults: Faults,
    request: str,
) -> None:
    parts = urlsplit(upstream)
    up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
    first, rest = head.split(b"\r\n", 1)
    up_writer.write(first + b"\r\nConnection: close\r\n" + rest)

    async def send_body() -> None:
        left = length
        while left and (chunk := await reader.read(min(left, 2**16))):
            up_writer.write(chunk)
            await up_writer.drain()
            left -= len(chunk)

    sending = asyncio.create_task(send_body())
    try:
        answer = b""
        ended = False
        while not ended:
            chunk = await up_reader.read(2**16)
            ended = not chunk
            if not answer.startswith(b"HTTP/1.1 2"):
                answer = (answer + chunk).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            if cut and answer.startswith(b"HTTP/1.1 2"):
                # Half of what has come, the headers with the whole length among it.
                writer.write(chunk[: max(1, len(chunk) // 2)])
                await writer.drain()
                return
            writer.write(chunk)
            await writer.drain()
        if answer.startswith(b"HTTP/1.1 2"):
            faults.passed[request] += 1
    finally:
        sending.cancel()
        up_writer.close()


def main() -> None:
    """Serve until interrupted, then print what befell the requests."""
    parser = argparse.ArgumentParser(description="Make a good S3 server a bad one, until interrupted.")
    parser.add_argument("--upstream", required=True, help="address of the good server")
    parser.add_argument("--fail", type=float, default=0.05, help="share of requests that fail")
    parser.add_argument("--stall", type=float, default=0.01, help="share of requests that stall")
    parser.add_argument("--stall-seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    faults = Faults(given.fail, given.stall, given.stall_seconds, given.seed)
    with faulty_proxy(given.upstream, faults) as address, contextlib.suppress(KeyboardInterrupt):
        print(f"export AWS_ENDPOINT_URL={address}", flush=True)
        while True:
            time.sleep(60)
    print(dict(faults.counts))


if __name__ == "__main__":
    main()
