"""An archive as a file that is read by ranges: only what is looked at is fetched."""

import io

from jobs.errors import ArchiveError
from jobs.storage import files as storage


class RangedFile(io.RawIOBase):
    """A file on any storage, read-only; a window of it is kept.

    Parameters
    ----------
    uri : str
    size : int
        Of the file in bytes.
    window : int
        Bytes that are fetched at least where something outside the window is read.
    most : int
        Bytes of one read at most: hostile lengths shall not fill the memory.

    Attributes
    ----------
    floor : int
        Positions before it are refused: nothing may lead backwards for ever.
    """

    def __init__(self, uri: str, size: int, window: int, most: int) -> None:
        super().__init__()
        self.uri = uri
        self.size = size
        self.window = window
        self.most = most
        self.floor = 0
        self._position = 0
        self._start = 0
        self._content = b""

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, which may lie behind the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < self.floor:
            raise ArchiveError("it leads backwards")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read bytes; fewer where the file ends.

        Raises
        ------
        ArchiveError
            If they are more than `most`.
        OSError
            If the storage cannot be read.
        """
        wanted = max(min(self.size - self._position if size < 0 else size, self.size - self._position), 0)
        if wanted > self.most:
            raise ArchiveError(f"{wanted} bytes would have to be read at once")
        first = self._position - self._start
        if wanted and not (first >= 0 and first + wanted <= len(self._content)):
            end = min(self._position + max(wanted, self.window), self.size)
            self._content = storage.read_range(self.uri, self._position, end)
            self._start, first = self._position, 0
        content = self._content[first : first + wanted]
        self._position += len(content)
        return content
