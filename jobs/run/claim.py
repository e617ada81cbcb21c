"""One driver at a time: a claim on the output, kept alive by a heartbeat.

The claim is a small file. Who makes it first has the output; its holder rewrites it every few seconds. Another start
finds it and is refused if the holder lives; if the file does not change for `LEASE_SECONDS`, by the watcher's own
clock, its holder is taken for dead and the watcher takes the output over. A holder that finds a claim not its own in
the file has lost it, and stops. No two machines' clocks are compared for this, and nothing is locked: it works on
object stores. Where the store can create a file only if there is none (S3's ``If-None-Match``, a local file system),
the first claim is atomic; elsewhere, and for every takeover, the claim is written, left to settle and read again.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from fsspec.implementations.local import LocalFileSystem

from jobs.errors import ClaimedError, ClaimLostError
from jobs.run.layout import CLAIM
from jobs.storage import files as storage

HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0
"""A claim that has not changed for so long is a dead driver's."""

CLOCKS_APART = 600.0
"""A sign of life older than this by the watcher's clock needs no watching: no two clocks are so far apart."""

SETTLE_SECONDS = 1.0
"""Longer than a write takes: whoever wrote at the same time has done so when the claim is read again."""


@dataclass(frozen=True)
class Holder:
    """Who holds a claim, as its file says.

    Parameters
    ----------
    token : str
        Of this claim alone.
    host, pid : str, int
        Where the driver runs.
    machine : str
        Boot and process namespace of the driver, within which `pid` and `born` name one process; "" where unknown.
    born : float
        Start of the process, seconds since the epoch.
    since, beat : datetime
        When the claim was made, and the last sign of life, by the holder's clock.
    beats : int
        Signs of life so far.
    """

    token: str
    host: str
    pid: int
    machine: str
    born: float
    since: datetime
    beat: datetime
    beats: int

    @classmethod
    def new(cls) -> "Holder":
        """Describe this process."""
        now = datetime.now(UTC)
        born = psutil.Process().create_time()
        return cls(uuid.uuid4().hex, socket.gethostname(), os.getpid(), _machine(), born, now, now, 0)

    @classmethod
    def parse(cls, content: bytes) -> "Holder":
        """Read a claim's file.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            times = {name: datetime.fromisoformat(values[name]) for name in ("since", "beat")}
            return cls(**(values | times))
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a claim: {error}") from error

    def to_bytes(self) -> bytes:
        """Return the content of the claim's file."""
        times = {name: getattr(self, name).isoformat(timespec="milliseconds") for name in ("since", "beat")}
        return (json.dumps(vars(self) | times, indent=2) + "\n").encode()

    def beating(self) -> "Holder":
        """Return the claim with a new sign of life."""
        return Holder(**(vars(self) | {"beat": datetime.now(UTC), "beats": self.beats + 1}))

    @property
    def age(self) -> float:
        """Seconds since the last sign of life, by this machine's clock."""
        return (datetime.now(UTC) - self.beat).total_seconds()

    @property
    def runs(self) -> bool | None:
        """Whether the driver's process runs; None where it is not one of this very machine."""
        if not self.machine or self.machine != _machine():
            return None
        try:
            return abs(psutil.Process(self.pid).create_time() - self.born) < 1.0
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        return (
            f"process {self.pid} on {self.host}, since {self.since.isoformat(' ', 'seconds')}, "
            f"last sign of life {max(0, self.age):.0f} s ago"
        )


def _machine() -> str:
    # Processes of two containers may have one number and one host name: the namespace tells them apart.
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def read_claim(output: str) -> Holder | None:
    """Return who holds the claim on an output; None where nobody does."""
    try:
        return Holder.parse(storage.read_bytes(storage.join(output, CLAIM)))
    except (FileNotFoundError, ValueError):
        return None  # a damaged claim is nobody's


def check_claim(output: str, token: str) -> None:
    """Raise a ClaimLostError unless the claim with this token is in force: for workers, before they write."""
    holder = read_claim(output)
    if holder is None or holder.token != token:
        raise ClaimLostError(_lost(output, holder))


class Claim:
    """The claim on an output for the length of a ``with`` block.

    Parameters
    ----------
    output : str
        Absolute URI.
    notify : callable
        Is told, in a sentence, that and why it waits.
    on_loss : callable
        Called from the heartbeat's thread when the claim is lost, to stop whatever the driver waits for.

    Raises
    ------
    ClaimedError
        On entry: another driver works on the output. Nothing has been written.
    """

    def __init__(
        self,
        output: str,
        notify: Callable[[str], None] = lambda _: None,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self.output = output
        self._uri = storage.join(output, CLAIM)
        self._notify = notify
        self._on_loss = on_loss
        self._holder = Holder.new()
        self._lost: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="claim", daemon=True)

    @property
    def token(self) -> str:
        """What tells this claim from every other."""
        return self._holder.token

    @property
    def is_lost(self) -> bool:
        """Whether another driver has taken the output over."""
        return self._lost is not None

    def check(self) -> None:
        """Raise a ClaimLostError if another driver has taken the output over."""
        if self._lost is not None:
            raise ClaimLostError(self._lost)

    def __enter__(self) -> "Claim":
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        # A claim that cannot be removed ends by itself: no reason to call a run failed that is whole.
        with contextlib.suppress(Exception):
            holder = read_claim(self.output) if not self.is_lost else None
            if holder is not None and holder.token == self.token:
                storage.remove_tree(self._uri)

    def _acquire(self) -> None:
        holder = read_claim(self.output)
        if holder is None and self._create():
            return
        holder = holder or read_claim(self.output)
        if holder is not None and holder.token != self.token:
            self._wait_until_dead(holder)
        storage.write_bytes(self._uri, self._holder.to_bytes())
        self._verify()

    def _create(self) -> bool:
        """Make the claim where there is none, atomically if the store can; tell whether it is ours."""
        filesystem, path = storage.resolve(self._uri)
        content = self._holder.to_bytes()
        if isinstance(filesystem, LocalFileSystem):
            return _create_local(Path(path), content)
        # Older servers refuse the condition or take no notice of it, and a lost answer may hide a success: what is
        # there afterwards decides.
        with contextlib.suppress(Exception):
            filesystem.pipe_file(path, content, mode="create")
        holder = read_claim(self.output)
        if holder is None or holder.token != self.token:
            return False
        self._verify()
        return True

    def _verify(self) -> None:
        time.sleep(SETTLE_SECONDS)
        holder = read_claim(self.output)
        if holder is None or holder.token != self.token:
            raise ClaimedError(_refused(self.output, holder))

    def _wait_until_dead(self, holder: Holder) -> None:
        """Return when the claim's holder is dead, or gone; raise a ClaimedError as soon as it shows life."""
        runs = holder.runs
        if runs is False or holder.age > LEASE_SECONDS + CLOCKS_APART:
            return
        if runs and holder.age < LEASE_SECONDS:
            raise ClaimedError(_refused(self.output, holder))
        deadline = time.monotonic() + LEASE_SECONDS
        self._notify(
            f"{storage.redacted(self.output)} is claimed by {holder}: "
            f"waiting up to {LEASE_SECONDS:.0f} s to see whether it lives"
        )
        while time.monotonic() < deadline:
            time.sleep(min(1.0, LEASE_SECONDS / 10))
            found = read_claim(self.output)
            if found is None or found.runs is False:
                return
            if (found.token, found.beats) != (holder.token, holder.beats):
                raise ClaimedError(_refused(self.output, found))

    def _keep_alive(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                holder = read_claim(self.output)
                if holder is None or holder.token != self.token:
                    self._lost = _lost(self.output, holder)
                    self._on_loss()
                    return
                self._holder = self._holder.beating()
                storage.write_bytes(self._uri, self._holder.to_bytes())
            except Exception:  # the storage is away: the next beat tries again, and no worker can write meanwhile
                continue


def _create_local(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        partial.write_bytes(content)
        # A link is there at once and whole, and is not made where there is a file already.
        path.hardlink_to(partial)
    except FileExistsError:
        return False
    except OSError:  # some file systems have no links
        with contextlib.suppress(FileExistsError), path.open("xb") as file:
            file.write(content)
            return True
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _refused(output: str, holder: Holder | None) -> str:
    who = str(holder) if holder is not None else "one that has just ended"
    return (
        f"another driver works on {storage.redacted(output)} ({who}): wait for it, stop it, or give another --output; "
        f"a dead driver's claim ends by itself after {LEASE_SECONDS:.0f} s"
    )


def _lost(output: str, holder: Holder | None) -> str:
    who = f"another driver has taken it over ({holder})" if holder is not None else "its claim was removed"
    return f"this driver has lost {storage.redacted(output)}: {who}"
