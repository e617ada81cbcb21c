"""Which mask belongs to which image: an index of the masks below a folder, by the hash of their names.

It takes ten bytes a mask: the hash of its name without the extension, and which extension it has; the image's own name
gives the rest of the mask's URI.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jobs.errors import SettingsError
from jobs.inputs.listing import is_image, iterate_files
from jobs.storage import files as storage
from jobs.storage.hashing import hash64


@dataclass
class MaskIndex:
    """The masks below a folder, by the hash of their names.

    Parameters
    ----------
    root : str
        Absolute URI.
    hashes : uint64 array (N,)
        Of the names below the root without the extension, sorted.
    extensions : uint16 array (N,)
        Positions in `spellings`.
    spellings : list of str
        Extensions as they are written.
    """

    root: str
    hashes: NDArray[np.uint64]
    extensions: NDArray[np.uint16]
    spellings: list[str] = field(default_factory=list)

    def find(self, names: Sequence[str]) -> list[str | None]:
        """Return the URI of the mask of every name, None where there is none."""
        if not len(self.hashes):
            return [None] * len(names)
        wanted = np.fromiter((hash64(name) for name in names), np.uint64, len(names))
        places = np.minimum(np.searchsorted(self.hashes, wanted), len(self.hashes) - 1)
        return [
            storage.join(self.root, name + self.spellings[self.extensions[place]]) if is_there else None
            for name, place, is_there in zip(names, places, self.hashes[places] == wanted, strict=True)
        ]


def index_masks(masks: str) -> MaskIndex:
    """List the masks below a folder.

    Raises
    ------
    SettingsError
        If it cannot be listed, or two masks have one name.
    """
    spellings: dict[str, int] = {}
    hashes, extensions = [np.empty(0, np.uint64)], [np.empty(0, np.uint16)]
    try:
        root = storage.absolute(masks)
        for page in iterate_files(root):
            found = [uri for uri in page if is_image(uri)]
            names = list(storage.parent_names(found, root))
            hashes.append(np.fromiter((hash64(name) for name in names), np.uint64, len(names)))
            endings = (uri[uri.rindex(".") :] for uri in found)
            extensions.append(
                np.fromiter((spellings.setdefault(ending, len(spellings)) for ending in endings), np.uint16, len(found))
            )
    except (OSError, ValueError, ImportError) as error:
        reason = storage.redacted(str(error) or type(error).__name__)
        raise SettingsError(f"the masks at {storage.redacted(masks)} cannot be read: {reason}") from error
    all_hashes = np.concatenate(hashes)
    order = np.argsort(all_hashes, kind="stable")
    index = MaskIndex(root, all_hashes[order], np.concatenate(extensions)[order], list(spellings))
    twice = index.hashes[1:][index.hashes[1:] == index.hashes[:-1]]
    if len(twice):
        raise SettingsError(_named_twice(root, int(twice[0])))
    return index


def _named_twice(root: str, wanted: int) -> str:
    found = [
        uri
        for page in iterate_files(root)
        for uri in page
        if is_image(uri) and hash64(next(storage.parent_names([uri], root))) == wanted
    ]
    name = next(storage.parent_names(found, root))
    return f"two masks have the name {name}: {' and '.join(storage.redacted(uri) for uri in found[:2])}"
