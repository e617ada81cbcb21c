r"""A cluster of several hosts on one machine: to see what the job does when a host is cut off, dies, or comes back.

Every host is a network namespace with an address of its own; a bridge joins them. One is the head of a Ray cluster,
without CPU slots, the others are its workers, and one more may serve S3. A command runs on the head, and things happen
to the others meanwhile:

    python -m cluster.hosts --workers 2 --data photographs --cut worker-1@20 --start worker-1@60 --kill worker-2@70 \
        --start worker-2@75 -- python -m jobs.saliency --images s3://data/ --output s3://data/run --model squeezenet1_1

This takes root on Linux and the command ``ip`` (Debian's package iproute2). Elsewhere the hosts are Ray nodes that
share this machine's address, and a host that is cut off is one whose processes stand still; the first line of what is
printed says which it is. For the S3 server the project's extra ``dev`` is needed.
"""

import argparse
import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.ports import free_ports

ROOT = Path(__file__).parents[1]
NETWORK = "10.77.0."
PORT = 6379
START_SECONDS = 120
_OWN = secrets.token_hex(4)
"""In the names of this process's namespaces: another one's, or what a killed process left, is not in the way."""
_MOST_MORE = 4
"""Hosts that are added later."""
S3_VARIABLES = 5
MEMORY = 2**29
"""Bytes that each host offers to tasks: all share one machine's."""
# A host that does not answer is taken for lost after five of these, about 20 seconds; Ray's own settings say 50.
HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "3000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}


class HostsError(RuntimeError):
    """The hosts cannot be made, or one of them did not start."""


def namespaces_allowed() -> bool:
    """Tell whether this process may make network namespaces."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = _space("probe")
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode == 0
    # A bridge needs a right that a container may lack although it may make namespaces.
    bridge = ["ip", "-n", probe, "link", "add", "br0", "type", "bridge"]
    bridged = made and subprocess.run(bridge, capture_output=True).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True)
    return bridged


@dataclass
class Hosts:
    """Hosts by name: ``head``, ``worker-1`` and on, ``s3`` where `serve_s3` has made it.

    Parameters
    ----------
    workers : int
        Worker nodes.
    slots : int
        CPU slots of each.
    folder : Path
        For Ray's files and logs; a short path, since those of sockets are limited to 107 characters.
    namespaced : bool
        Hosts with addresses of their own, or Ray nodes that share the machine's.
    """

    workers: int
    slots: int
    folder: Path
    namespaced: bool = field(default_factory=namespaces_allowed)

    def __post_init__(self) -> None:
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = os.environ | HEALTH_CHECKS | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
        self.names: list[str] = []
        self._node_ids: dict[str, str] = {}
        self.with_gpu: set[str] = set()
        # On an address of its own the usual one; on the machine's there may be another Ray, with agents.
        self.port, self.agent_ports = PORT, list[int]()
        if not self.namespaced:
            self.port, *self.agent_ports = free_ports(1 + 2 * (self.workers + 2 + _MOST_MORE))

    @property
    def description(self) -> str:
        """What kind of hosts these are."""
        if self.namespaced:
            return f"hosts are network namespaces, {NETWORK}0/24"
        return "network namespaces are not allowed here: hosts are Ray nodes on this machine's own address"

    @property
    def ray_address(self) -> str:
        """Where drivers on the head find Ray."""
        return f"{self.address('head')}:{self.port}"

    def address(self, name: str) -> str:
        """Return the IP address of a host."""
        return f"{NETWORK}{10 + self.names.index(name)}" if self.namespaced else "127.0.0.1"

    def add(self, name: str, with_gpu: bool = False) -> None:
        """Make a host that runs nothing.

        Parameters
        ----------
        name : str
        with_gpu : bool
            Whether it will say that it has a GPU: Ray hands out what a node says.
        """
        self.names.append(name)
        if with_gpu:
            self.with_gpu.add(name)
        if not self.namespaced:
            return
        port = f"p{len(self.names)}"
        _ip("netns", "add", _space(name))
        _ip("-n", _space("switch"), "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", _space(name))
        _ip("-n", _space("switch"), "link", "set", port, "master", "bridge", "up")
        _ip("-n", _space(name), "address", "add", f"{self.address(name)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", _space(name), "link", "set", device, "up")

    def popen(self, name: str, command: Sequence[str], **options: object) -> "subprocess.Popen[bytes]":
        """Start a command on a host; it ends with the hosts."""
        environment = self._environment | dict(options.pop("env", {}))  # type: ignore[call-overload]
        if self.namespaced:
            command = ["ip", "netns", "exec", _space(name), *command]
        return subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, **options)  # type: ignore[call-overload]

    def serve_s3(self, buckets: Sequence[str]) -> None:
        """Serve S3 from a host of its own; what is started later has the variables that lead there."""
        self.add("s3")
        (self.folder / "s3").mkdir()
        command = [sys.executable, "-m", "tests.support.s3_server", "--folder", str(self.folder / "s3")]
        command += ["--host", self.address("s3"), *(f"--bucket={bucket}" for bucket in buckets)]
        self._started["s3"] = server = self.popen("s3", command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        with server.stdout as said:
            lines = [said.readline().decode() for _ in range(S3_VARIABLES)]
        if not all(lines):
            raise HostsError("the S3 server did not start")
        for line in lines:
            (assignment,) = shlex.split(line.removeprefix("export "))
            name, _, value = assignment.partition("=")
            self._environment[name] = value

    def start(self, name: str) -> None:
        """Start Ray on a host, again where it ran before, and wait until the head knows it."""
        self.kill(name)
        self.mend(name)
        where = ["--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=False"]
        where += [f"--temp-dir={self.folder}"]
        if name != "head":
            where = [
                f"--address={self.ray_address}",
                f"--num-cpus={self.slots}",
                f"--num-gpus={int(name in self.with_gpu)}",
                f"--memory={MEMORY}",
            ]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *where]
        command += [f"--node-ip-address={self.address(name)}", "--object-store-memory=150000000"]
        if self.agent_ports:
            listen, grpc = self.agent_ports[2 * self.names.index(name) :][:2]
            command += [f"--dashboard-agent-listen-port={listen}", f"--dashboard-agent-grpc-port={grpc}"]
        self._node_ids[name] = node_id = secrets.token_hex(28)
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            size = file.tell()
            options = {
                "stdout": file,
                "stderr": subprocess.STDOUT,
                "env": {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": node_id},
            }
            self._started[name] = self.popen(name, command, **options)
        deadline = time.monotonic() + START_SECONDS
        while b"Ray runtime started" not in log.read_bytes()[size:]:
            if self._started[name].poll() is not None or time.monotonic() > deadline:
                raise HostsError(f"Ray did not start on {name}: " + log.read_text()[-2000:])
            time.sleep(0.2)

    def cut(self, name: str) -> None:
        """Cut a host off from all others; it goes on running, and nobody tells it."""
        if self.namespaced:
            _ip("-n", _space(name), "link", "set", "eth0", "down")
        else:
            self._signal(name, signal.SIGSTOP)

    def mend(self, name: str) -> None:
        """Undo `cut`. A host that the head has given up has to be started again."""
        if self.namespaced:
            _ip("-n", _space(name), "link", "set", "eth0", "up")
        else:
            self._signal(name, signal.SIGCONT)

    def drain(self, name: str, seconds: int = 120) -> None:
        """Announce to Ray that a host is about to go, as a cloud does of a machine that it takes back; see `kill`.

        Parameters
        ----------
        name : str
        seconds : int
            Until then, as it is announced; AWS says two minutes.
        """
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", f"--address={self.ray_address}"]
        command += [f"--node-id={self._node_ids[name]}", "--reason=DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message=taken back", f"--deadline-remaining-seconds={seconds}"]
        told = self.popen("head", command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = told.communicate(timeout=START_SECONDS)
        if told.returncode != 0:
            raise HostsError(f"Ray was not told that {name} goes: {said.decode()[-2000:]}")

    def kill(self, name: str) -> None:
        """Kill all that runs on a host, at once."""
        self._signal(name, signal.SIGKILL)
        started = self._started.pop(name, None)
        if started is not None:
            started.wait()

    def close(self) -> None:
        """Kill everything and take the hosts away."""
        for name in reversed(self.names):
            self.kill(name)
            if self.namespaced:
                _ip("netns", "delete", _space(name))

    def _signal(self, name: str, number: signal.Signals) -> None:
        pids = []
        if self.namespaced:
            pids = [int(line) for line in _ip("netns", "pids", _space(name)).split()]
        elif name in self._started:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(self._started[name].pid)
                pids = [child.pid for child in [process, *process.children(recursive=True)]]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@contextmanager
def running_hosts(
    workers: int, slots: int, buckets: Sequence[str] = (), namespaced: bool | None = None
) -> Iterator[Hosts]:
    """Make the hosts and start Ray on them, for the length of a ``with`` block.

    Parameters
    ----------
    workers, slots : int
        Worker nodes, and CPU slots of each.
    buckets : sequence of str, optional
        With any, one more host serves S3 with these buckets, and the others have the variables that lead there.
    namespaced : bool, optional
        By default as allowed here.

    Raises
    ------
    HostsError
        If they cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix="hosts-", ignore_cleanup_errors=True) as folder:
        hosts = Hosts(workers, slots, Path(folder), namespaces_allowed() if namespaced is None else namespaced)
        try:
            if hosts.namespaced:
                _ip("netns", "add", _space("switch"))
                _ip("-n", _space("switch"), "link", "add", "bridge", "type", "bridge")
                _ip("-n", _space("switch"), "link", "set", "bridge", "up")
            hosts.add("head")
            if buckets:
                hosts.serve_s3(buckets)
            hosts.start("head")
            for index in range(workers):
                hosts.add(f"worker-{index + 1}")
                hosts.start(f"worker-{index + 1}")
            yield hosts
        finally:
            hosts.close()
            if hosts.namespaced:
                subprocess.run(["ip", "netns", "delete", _space("switch")], capture_output=True)


def _space(name: str) -> str:
    return f"saliency-{_OWN}-{name}"


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise HostsError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


_COPY = (
    sys.executable,
    "-c",
    """
import sys
from pathlib import Path
from jobs.storage import files as storage
root = Path(sys.argv[1])
for path in root.rglob("*"):
    if path.is_file():
        storage.write_bytes(f"s3://data/{path.relative_to(root)}", path.read_bytes())
""",
)


_GPU_HOSTS = "hosts gpu-1 and on, with a GPU each as Ray sees it; they run from --start on"


def _events(given: argparse.Namespace) -> list[tuple[float, str, str]]:
    found = []
    for action in ("cut", "mend", "drain", "kill", "start"):
        for value in getattr(given, action):
            name, _, seconds = value.partition("@")
            found.append((float(seconds), action, name))
    return sorted(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command on the head while things happen to the hosts; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=4, help="CPU slots of each")
    parser.add_argument("--gpu-hosts", type=int, default=0, help=_GPU_HOSTS)
    parser.add_argument("--data", type=Path, help="serve S3 from one more host, with this folder's files in s3://data/")
    for action, meaning in (
        ("cut", "cut a host off"),
        ("mend", "undo that"),
        ("drain", "announce to Ray that a host goes within two minutes; then kill it"),
        ("kill", "kill all that runs on a host"),
        ("start", "start it (again)"),
    ):
        parser.add_argument(f"--{action}", action="append", default=[], metavar="HOST@SECONDS", help=meaning)
    parser.add_argument("command", nargs="+", help="what runs on the head, behind --")
    given = parser.parse_args(arguments)
    events = _events(given)
    with running_hosts(given.workers, given.slots, ["data"] if given.data else []) as hosts:
        for index in range(given.gpu_hosts):
            hosts.add(f"gpu-{index + 1}", with_gpu=True)
        print(hosts.description, flush=True)
        if given.data is not None and hosts.popen("head", [*_COPY, str(given.data.resolve())]).wait() != 0:
            raise HostsError(f"the files of {given.data} could not be copied to the S3 server")
        running = hosts.popen("head", given.command, env={"RAY_ADDRESS": hosts.ray_address})
        started = time.monotonic()
        while running.poll() is None:
            while events and time.monotonic() - started >= events[0][0]:
                seconds, action, name = events.pop(0)
                print(f"{seconds:.0f} s: {action} {name}", flush=True)
                getattr(hosts, action)(name)
            time.sleep(0.2)
        return running.returncode


if __name__ == "__main__":
    sys.exit(main())
