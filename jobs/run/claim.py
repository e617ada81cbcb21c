"""One driver at a time: a claim on the output, kept alive by a heartbeat.

The claim is a small file. Who makes it first has the output; its holder rewrites it every few seconds. Another start
finds it and is refused if the holder lives; if the file does not change for `LEASE_SECONDS`, by the watcher's own
clock, its holder is taken for dead and the watcher takes the output over. A holder that finds a claim not its own in
the file has lost it, and stops. No two machines' clocks are compared for this.

All writes of it are conditional (`jobs.storage.conditional`): a beat that was under way for a minute finds the file
changed and does nothing. A holder whose last beat that arrived was begun half a lease ago stops by itself: long before
anybody may take the output over, it has stopped writing. Where the store knows no conditions, the claim is left to
settle and read again.
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

from jobs.errors import ClaimedError, ClaimLostError, SettingsError
from jobs.run.layout import CLAIM, STOP
from jobs.storage import files as storage
from jobs.storage.conditional import ChangedError, ConditionalFile, Version

HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0
"""A claim that has not changed for so long is a dead driver's."""
BEAT_SHARE = 0.125
"""Of the lease: a beat that has not been written by then is given up, and the next begins at once. So there are three
before a holder stops, of which two may meet a store that is silent."""
AGAIN_SECONDS = 1.0
"""Between a beat that failed and the next."""
RENEWED_SHARE = 0.5
"""Of the lease: a holder that has not renewed its claim for so long stops by itself."""
MAIN_THREAD_SECONDS = 1.5
"""Time for the driver to come to an end by itself after a signal, before its claim is given back: who sends signals may
kill it three seconds later."""

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
        return _parsed(storage.read_bytes(storage.join(output, CLAIM)))
    except FileNotFoundError:
        return None


def _parsed(content: bytes) -> Holder | None:
    try:
        return Holder.parse(content)
    except ValueError:
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
    on_end : callable
        Called from a thread of the claim's own when it is lost or the driver is asked to stop, to interrupt whatever
        the driver waits for.

    Raises
    ------
    ClaimedError
        On entry: another driver works on the output. Nothing has been written.
    """

    def __init__(
        self,
        output: str,
        notify: Callable[[str], None] = lambda _: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.output = output
        self.stop_request: str | None = None
        """Who asked this driver to stop, in a sentence."""
        self._file = ConditionalFile(storage.join(output, CLAIM))
        self._notify = notify
        self._on_end = on_end
        self._holder = Holder.new()
        self._renewed = time.monotonic()
        self._lost: str | None = None
        self._given_back = False
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_alive, name="claim", daemon=True),
            threading.Thread(target=self._watch, name="claim's watch", daemon=True),
        ]

    @property
    def token(self) -> str:
        """What tells this claim from every other."""
        return self._holder.token

    @property
    def is_lost(self) -> bool:
        """Whether another driver has taken the output over, or may soon."""
        if self._lost is None and time.monotonic() - self._renewed > RENEWED_SHARE * LEASE_SECONDS:
            self._lost = (
                f"this driver could not renew its claim on {storage.redacted(self.output)} for "
                f"{RENEWED_SHARE * LEASE_SECONDS:.0f} s and has stopped: soon another may take it over"
            )
        return self._lost is not None

    @property
    def is_held(self) -> bool:
        """Whether this driver may still write to the output."""
        return not (self.is_lost or self._given_back)

    def check(self) -> None:
        """Raise a ClaimLostError if another driver has taken the output over, or may soon."""
        if self.is_lost:
            raise ClaimLostError(self._lost)

    def stopped(self) -> str | None:
        """Have the claim given back within `MAIN_THREAD_SECONDS`, whether or not the block ends by then.

        For signal handlers. Returns who asked for it, if anybody did.
        """
        self._hurry.set()
        return self.stop_request

    def __enter__(self) -> "Claim":
        try:
            self._acquire()
        except ClaimedError:
            raise
        except Exception as error:  # every storage has errors of its own
            reason = storage.redacted(" ".join(str(error).split()) or type(error).__name__)
            raise SettingsError(f"the output {storage.redacted(self.output)} cannot be claimed: {reason}") from error
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._hurry.set()  # only to wake the thread
        for thread in self._threads:
            thread.join(LEASE_SECONDS)
        self._give_back()

    def _give_back(self) -> None:
        # A claim that cannot be removed ends by itself: no reason to call a run failed that is whole.
        with contextlib.suppress(Exception):
            if not self.is_held:
                return
            self._given_back = True
            found = self._file.read(BEAT_SHARE * LEASE_SECONDS)
            holder = _parsed(found.content) if found else None
            if holder is not None and holder.token == self.token:
                storage.remove_tree(self._file.uri)
                if self.stop_request is not None:
                    storage.remove_tree(storage.join(self.output, STOP))

    def _acquire(self) -> None:
        found = self._file.read(LEASE_SECONDS)
        holder = _parsed(found.content) if found else None
        if holder is not None:
            found = self._wait_until_dead(holder, found)
        self._write(found)
        self._verify()

    def _write(self, based_on: Version | None) -> None:
        self._renewed = time.monotonic()
        try:
            self._file.write(self._holder.to_bytes(), based_on, RENEWED_SHARE * LEASE_SECONDS)
        except ChangedError:
            # One's own write of which the answer was lost, or another driver's.
            self._verify(0.0)

    def _verify(self, seconds: float | None = None) -> None:
        time.sleep(SETTLE_SECONDS if seconds is None else seconds)
        holder = read_claim(self.output)
        if holder is None or holder.token != self.token:
            raise ClaimedError(_refused(self.output, holder))

    def _wait_until_dead(self, holder: Holder, version: Version | None) -> Version | None:
        """Return what is to be replaced when the claim's holder is dead; raise a ClaimedError if it shows life."""
        runs = holder.runs
        if runs is False or holder.age > LEASE_SECONDS + CLOCKS_APART:
            return version
        if runs and holder.age < LEASE_SECONDS:
            raise ClaimedError(_refused(self.output, holder))
        deadline = time.monotonic() + LEASE_SECONDS
        self._notify(
            f"{storage.redacted(self.output)} is claimed by {holder}: "
            f"waiting up to {LEASE_SECONDS:.0f} s to see whether it lives"
        )
        while time.monotonic() < deadline:
            time.sleep(min(1.0, LEASE_SECONDS / 10))
            version = self._file.read(LEASE_SECONDS)
            found = _parsed(version.content) if version else None
            if found is None or found.runs is False:
                break
            if (found.token, found.beats) != (holder.token, holder.beats):
                raise ClaimedError(_refused(self.output, found))
        return version

    def _keep_alive(self) -> None:
        pause = HEARTBEAT_SECONDS
        while True:
            if self._hurry.wait(pause):
                # The driver is on its way to the end of the block, as a rule.
                if not self._stop.wait(MAIN_THREAD_SECONDS):
                    self._give_back()
                return
            if self._stop.is_set() or self.is_lost:
                return
            pause = min(AGAIN_SECONDS, HEARTBEAT_SECONDS)
            with contextlib.suppress(
                Exception
            ):  # the storage is away: the next beat tries again, until the watch ends it
                if self._beat():
                    pause = HEARTBEAT_SECONDS
                if self._is_asked_to_stop():
                    self._on_end()

    def _beat(self) -> bool:
        """Renew the claim; tell whether that has come about."""
        began = time.monotonic()
        seconds = BEAT_SHARE * LEASE_SECONDS
        found = self._file.read(seconds)
        holder = _parsed(found.content) if found else None
        if holder is None or holder.token != self.token:
            self._lost = _lost(self.output, holder)
            self._on_end()
            return False
        beating = self._holder.beating()
        try:
            self._file.write(beating.to_bytes(), found, max(0.0, began + seconds - time.monotonic()))
        except ChangedError:
            return False  # a late beat of one's own, or another driver: the next beat sees which
        self._holder, self._renewed = beating, began
        return True

    def _is_asked_to_stop(self) -> bool:
        if self.stop_request is None:
            self.stop_request = read_stop_request(self.output, self.token, BEAT_SHARE * LEASE_SECONDS)
            return self.stop_request is not None
        return False

    def _watch(self) -> None:
        # In a thread of its own: a beat may hang in a file system.
        while not self._stop.wait(min(0.5, LEASE_SECONDS / 40)):
            if self._lost is None and self.is_lost:
                self._on_end()
                return


def ask_to_stop(output: str, token: str, who: str) -> None:
    """Ask the driver with this claim to stop; it reads that with its heartbeat."""
    content = {"token": token, "by": who, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    storage.write_bytes(storage.join(output, STOP), (json.dumps(content) + "\n").encode())


def read_stop_request(output: str, token: str, seconds: float) -> str | None:
    """Say who asked the driver with this claim to stop, None if nobody did; within so many seconds on S3."""
    found = ConditionalFile(storage.join(output, STOP)).read(seconds)
    try:
        content = json.loads(found.content) if found else None
    except ValueError:
        return None
    if not isinstance(content, dict) or content.get("token") != token:
        return None  # of a driver that has gone
    return f"{content.get('by')} asked it to stop at {content.get('at')}"


def _refused(output: str, holder: Holder | None) -> str:
    who = str(holder) if holder is not None else "one that has just ended"
    return (
        f"another driver works on {storage.redacted(output)} ({who}): wait for it, stop it, or give another --output; "
        f"a dead driver's claim ends by itself after {LEASE_SECONDS:.0f} s"
    )


def _lost(output: str, holder: Holder | None) -> str:
    who = f"another driver has taken it over ({holder})" if holder is not None else "its claim was removed"
    return f"this driver has lost {storage.redacted(output)}: {who}"
