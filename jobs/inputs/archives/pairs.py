"""Which members of an archive are images, and which are their masks."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.inputs.archives.uris import Member
from jobs.inputs.listing import only_images

MASK_WORDS = ("mask", "masks", "segmentation", "seg", "gt", "matte", "alpha")
"""``KEY.mask.png`` is the mask of ``KEY.jpg``; so are columns of these names. The first that is there counts."""

Pair = tuple[Member, Member | None]
"""An image, and its mask if there is one."""


@dataclass
class ArchiveIndex:
    """What an archive holds.

    Parameters
    ----------
    pairs : list of Pair
        Images with their masks, in order. Those that cannot be read, such as links, have `fault_at`.
    fault : Exception, optional
        Why the rest of the archive cannot be read.
    fault_at : int
        From where on, in bytes.
    left_out : Counter of str
        Numbers of other members, by extension.
    read_at_once : int
        Bytes that have to be read for a single image, where that is more than its own.
    """

    pairs: list[Pair] = field(default_factory=list)
    fault: Exception | None = None
    fault_at: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    read_at_once: int = 0


def images_and_masks(members: Iterable[Member], left_out: Counter[str]) -> list[Pair]:
    """Pair the images among the members of an archive with their masks, in order.

    Parameters
    ----------
    members : iterable of Member
    left_out : Counter of str
        Gets the numbers of other members, by extension.

    Examples
    --------
    >>> members = [Member("a.tar", name, 0, 0) for name in ("1.jpg", "1.json", "1.mask.png", "2.0.jpg")]
    >>> pairs = images_and_masks(members, Counter())
    >>> [(image.name, mask and mask.name) for image, mask in pairs]
    [('1.jpg', '1.mask.png'), ('2.0.jpg', None)]
    """
    by_name = {member.name: member for member in members}
    pictures: list[str] = [name for page in only_images([list(by_name)], left_out) for name in page]
    keys = {stem(name) for name in pictures}
    masks: dict[str, dict[str, Member]] = {}
    images = []
    for name in pictures:
        key, _, word = stem(name).rpartition(".")
        if key in keys and word.lower() in MASK_WORDS:
            masks.setdefault(key, {})[word.lower()] = by_name[name]
        else:
            images.append(by_name[name])
    pairs: list[Pair] = []
    for image in images:
        found = masks.get(stem(image.name), {})
        pairs.append((image, next((found[word] for word in MASK_WORDS if word in found), None)))
    return pairs


def stem(name: str) -> str:
    """Return a member's name without the extension."""
    return name.rpartition(".")[0]
