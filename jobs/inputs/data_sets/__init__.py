"""Data sets by name: which images and masks they hold, and where in their folders these lie."""

from collections.abc import Callable
from dataclasses import dataclass

from jobs.errors import SettingsError
from jobs.inputs.data_sets.listing import DataSetListing, reading
from jobs.inputs.data_sets.salient_objects import LAYOUTS, read_salient_objects
from jobs.inputs.data_sets.voc import SPLITS, read_voc, read_voc2012
from jobs.storage import files as storage

__all__ = ["DATA_SETS", "DataSet", "DataSetListing", "read_data_set"]


@dataclass(frozen=True)
class DataSet:
    """How a data set is read.

    Parameters
    ----------
    read : callable
        From (root, split, with_classes) to a `DataSetListing`.
    looked_for : str
        What has to lie below the root.
    splits : tuple of str
        The splits it has, the default one first; none for a data set that is a single test set.
    """

    read: Callable[[str, str | None, bool], DataSetListing]
    looked_for: str
    splits: tuple[str, ...] = ()

    @property
    def default_split(self) -> str | None:
        """The split that is read when none is asked for."""
        return self.splits[0] if self.splits else None


DATA_SETS: dict[str, DataSet] = {
    "voc2012": DataSet(
        read_voc2012, "JPEGImages, Annotations, SegmentationClass, SegmentationObject and ImageSets", SPLITS
    ),
    "voc": DataSet(
        read_voc, "the folders of Pascal VOC, and classes.txt with one class name a line in order of index", SPLITS
    ),
    **{name: DataSet(read_salient_objects(name), layout.looked_for) for name, layout in LAYOUTS.items()},
}


def read_data_set(name: str, root: str, split: str | None = None, *, with_classes: bool = False) -> DataSetListing:
    """List the images and masks of a data set.

    Parameters
    ----------
    name : str
        One of `DATA_SETS`.
    root : str
        Folder or prefix where the data set was unpacked, on any storage.
    split : str, optional
        One of the data set's splits; by default its first.
    with_classes : bool
        Find the class of every image too. This reads two masks or an annotation for every image.

    Returns
    -------
    DataSetListing

    Raises
    ------
    SettingsError
        If there is no such data set or split, or if files of it are missing or damaged.
    """
    if name not in DATA_SETS:
        raise SettingsError(f"there is no data set {name!r}: choose one of {', '.join(DATA_SETS)}")
    data_set = DATA_SETS[name]
    if split is not None and split not in data_set.splits:
        choice = f"choose one of {', '.join(data_set.splits)}" if data_set.splits else "leave the split out"
        raise SettingsError(f"the data set {name} has no split {split!r}: {choice}")
    if with_classes and not data_set.splits:
        raise SettingsError(f"the images of the data set {name} have no classes: choose voc2012 or voc")
    return data_set.read(reading(root, storage.absolute), split or data_set.default_split, with_classes)
