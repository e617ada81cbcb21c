"""Decoding in a process of its own: what a broken or hostile file does to a decoder costs that file alone.

A task keeps one such process and sends it file after file. If it crashes, takes too long or too much memory, it is
replaced; the file gets a status and its neighbours never know. What comes back is JSON and plain bytes, so that a
decoder that was taken over by a file cannot run anything here; and it has no credentials in its environment.

``python -m jobs.decoding.process SETTINGS`` is that process.
"""

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import asdict
from typing import IO, Any

from jobs.decoding.files import CLOCK_SECONDS, CRASHED, OPERATIONS, DecodeSettings, Fields, failed, limit_this_process

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 2**20
_LONGEST_BUFFERS = 2**32
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")


class Decoder:
    """The parent's side: starts the process when it is needed, and again when it has died.

    Parameters
    ----------
    settings : DecodeSettings
    """

    def __init__(self, settings: DecodeSettings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def image(self, content: bytes) -> Fields:
        """Decode an image; see `decoding.decode_image_file`."""
        return self._decode("image", content, {})

    def mask(self, content: bytes, image: Fields) -> Fields:
        """Decode the mask of an image that `image` has decoded; see `decoding.decode_mask_file`."""
        known = {name: value for name, value in image.items() if isinstance(value, int)}
        return self._decode("mask", content, known)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._bury()

    def _decode(self, operation: str, content: bytes, known: Fields) -> Fields:
        # Twice: a process may be ended from outside, for the memory of others.
        for _ in range(2):
            if self._process is None:
                self._process = self._start()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            try:
                _send(self._process.stdin, {"operation": operation, "image": known}, {"content": content})
                fields: Fields = _receive(self._process.stdout)
                return fields
            except (OSError, EOFError, ValueError):
                # Killed as well as dead: what sends nonsense is not to be trusted with another file.
                self._process.kill()
                code = self._bury()
            if code in (-signal.SIGPROF, -signal.SIGALRM):
                reason = f"decoding took longer than {self.settings.seconds:g} seconds"
                break
            reason = f"the decoder crashed ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
        return {"status": CRASHED[operation], "error": f"DecodeError: {reason}"}

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        environment["OMP_NUM_THREADS"] = "1"
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.decoding.process", json.dumps(asdict(self.settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def _bury(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what was still to be sent to a dead process
                pipe.close()
        return process.wait()


_shared: Decoder | None = None


def shared_decoder(settings: DecodeSettings) -> Decoder:
    """Return this process's decoder: tasks that follow each other in a worker of Ray use one."""
    global _shared
    if _shared is None or _shared.settings != settings:
        if _shared is not None:
            _shared.close()
            atexit.unregister(_shared.close)
        _shared = Decoder(settings)
        atexit.register(_shared.close)
    return _shared


def _send(stream: IO[bytes], header: dict[str, Any], buffers: dict[str, bytes]) -> None:
    encoded = json.dumps(header | {"buffers": {name: len(buffer) for name, buffer in buffers.items()}}).encode()
    stream.write(_LENGTH.pack(len(encoded)) + encoded)
    for buffer in buffers.values():
        stream.write(buffer)
    stream.flush()


def _receive(stream: IO[bytes]) -> Fields:
    """Read what `_send` wrote: the header's values, and the buffers as bytearrays, which arrays can write to.

    Raises
    ------
    EOFError
        If the stream ends.
    ValueError
        If it holds something else.
    """
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > _LONGEST_HEADER:
        raise ValueError("no header")
    header: dict[str, Any] = json.loads(_exactly(stream, length))
    sizes = header.pop("buffers")
    if sum(sizes.values()) > _LONGEST_BUFFERS:
        raise ValueError("no buffers")
    return header | {name: _exactly(stream, size) for name, size in sizes.items()}


def _exactly(stream: IO[bytes], size: int) -> bytearray:
    buffer = bytearray(size)
    if stream.readinto(buffer) != size:  # type: ignore[attr-defined]
        raise EOFError
    return buffer


def _set_alarms(seconds: float) -> None:
    """Have the kernel end this process after so many seconds of work, or many more of waiting; 0: never."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS * seconds)


def main() -> None:
    """Decode what comes over standard input until it ends."""
    settings = DecodeSettings(**json.loads(sys.argv[1]))
    limit_this_process(settings)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    while True:
        try:
            request = _receive(sys.stdin.buffer)
        except EOFError:
            return
        # The kernel ends this process when time is up, whatever it is doing then; also where the parent has died.
        _set_alarms(settings.seconds)
        operation = request["operation"]
        try:
            fields = OPERATIONS[operation](bytes(request["content"]), settings, request["image"])
        except Exception as error:  # a fault of the program, which one file has found
            fields = failed(CRASHED[operation], error)
        _set_alarms(0)
        _send(
            answers,
            {name: value for name, value in fields.items() if not isinstance(value, bytes)},
            {name: value for name, value in fields.items() if isinstance(value, bytes)},
        )


if __name__ == "__main__":
    main()
