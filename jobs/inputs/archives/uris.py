"""How an image within an archive is named: ``s3://bucket/00012.tar#000120034.jpg``.

Behind the ``#`` stands the member's name in a tar, and ``COLUMN/ROW`` in a Parquet or Arrow file. The manifest of a run
keeps behind a second ``#`` where the member lies, so that nobody has to look for it again; nothing else shows that.
"""

import re
import urllib.parse
from dataclasses import dataclass

ENDINGS = (".tar", ".parquet", ".arrow")
"""Of the names of archives that can be read."""

COMPRESSED_ENDINGS = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tbz", ".tar.xz", ".txz")

_URI = re.compile(
    r"(?P<archive>.+?(?:\.tar|\.parquet|\.arrow))#(?P<name>[^#]+)"
    r"(?:#(?:(?P<offset>[0-9]{1,18})\+(?P<size>[0-9]{1,18})|!(?P<fault>[0-9]{1,18})))?",
    re.IGNORECASE | re.DOTALL,
)
_UNSAFE = re.compile("[%#\x00-\x1f\x7f\udc80-\udcff]|^@")


@dataclass(frozen=True)
class Member:
    """An image or a mask in an archive.

    Parameters
    ----------
    archive : str
        URI of the archive.
    name : str
        As the archive has it; "" stands for the rest of an archive that cannot be read.
    offset, size : int, optional
        Where its bytes lie in the archive; None where that is not known, and in Parquet.
    fault_at : int, optional
        Where in the archive it is said why the member, or the rest of the archive, cannot be read.

    Examples
    --------
    >>> member = Member("s3://bucket/00012.tar", "a#1.jpg", 1536, 400)
    >>> member.uri, member.placed, member_of(member.placed) == member
    ('s3://bucket/00012.tar#a%231.jpg', 's3://bucket/00012.tar#a%231.jpg#1536+400', True)
    >>> Member("s3://bucket/00012.tar", "", fault_at=2048).uri
    's3://bucket/00012.tar#@2048'
    """

    archive: str
    name: str
    offset: int | None = None
    size: int | None = None
    fault_at: int | None = None

    @property
    def uri(self) -> str:
        """The member's URI, the same wherever in the archive it lies."""
        return f"{self.archive}#{_UNSAFE.sub(_escaped, self.name) or f'@{self.fault_at}'}"

    @property
    def placed(self) -> str:
        """The URI with the member's place, for the manifest."""
        if self.offset is not None:
            return f"{self.uri}#{self.offset}+{self.size}"
        return f"{self.uri}#!{self.fault_at}" if self.name and self.fault_at is not None else self.uri


def member_of(uri: str) -> Member | None:
    """Return what a URI names within an archive; None for any other URI.

    Examples
    --------
    >>> member_of("s3://bucket/a#1.jpg") is None, member_of("s3://bucket/a.tar#@1536").fault_at
    (True, 1536)
    """
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    name, fault = found["name"], found["fault"]
    if name.startswith("@") and name[1:].isdecimal():
        return Member(found["archive"], "", fault_at=int(name[1:]))
    name = urllib.parse.unquote(name, errors="surrogateescape")
    offset, size = (int(found[key]) if found[key] else None for key in ("offset", "size"))
    return Member(found["archive"], name, offset, size, int(fault) if fault else None)


def without_place(uri: str) -> str:
    """Return a URI as it is shown, and as ids are made of it: without the place of a member.

    Examples
    --------
    >>> without_place("s3://bucket/a.tar#b.jpg#512+99"), without_place("s3://bucket/a#b.jpg#1+2")
    ('s3://bucket/a.tar#b.jpg', 's3://bucket/a#b.jpg#1+2')
    """
    member = member_of(uri)
    return uri if member is None else member.uri


def is_archive(uri: str) -> bool:
    """Tell by its name whether a file is an archive that may be read; hidden ones are not."""
    name = uri.rsplit("/", 1)[-1].lower()
    return name.endswith(ENDINGS) and not name.startswith(".")


def _escaped(found: "re.Match[str]") -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))
