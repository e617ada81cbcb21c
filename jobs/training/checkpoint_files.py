"""The output as Ray Train's storage for checkpoints."""

import io
from pathlib import Path
from typing import Any

import pyarrow.fs
from fsspec.implementations.local import LocalFileSystem

from jobs.storage import files as storage


class _WholeFile(io.BufferedWriter):
    """A local file that appears under its name when all is written: a kill leaves the old one or the new one."""

    def __init__(self, path: str) -> None:
        self._target = Path(path)
        self._partial = self._target.with_name(f".{self._target.name}.partial")
        super().__init__(io.FileIO(self._partial, "wb"))

    def close(self) -> None:
        if not self.closed:
            super().close()  # raises where the rest cannot be written
            self._partial.replace(self._target)


class _Handler(pyarrow.fs.FSSpecHandler):
    """The file system of the output for Ray Train, which itself writes its list of checkpoints in place."""

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        if isinstance(self.fs, LocalFileSystem):
            return pyarrow.PythonFile(_WholeFile(path), mode="w")
        return super().open_output_stream(path, metadata)


def checkpoint_storage(output: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the file system of an output for `ray.train.RunConfig`, and the path on it."""
    filesystem, path = storage.resolve(output)
    return pyarrow.fs.PyFileSystem(_Handler(filesystem)), path
