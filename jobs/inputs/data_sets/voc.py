"""Pascal VOC 2012, and data sets of one's own in its layout.

References
----------
M. Everingham et al., *The PASCAL Visual Object Classes Challenge 2012 (VOC2012) Development Kit*.
"""

import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.errors import SettingsError
from jobs.inputs.data_sets.listing import (
    IMAGES,
    MASKS,
    DataSetListing,
    check_complete,
    files_by_stem,
    read_lines,
    reading,
    unreadable,
)
from jobs.storage import files as storage
from saliency_core.imaging.options import VOID_INDEX

SPLITS = ("val", "train", "trainval", "finetune")
VOC2012_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
BOX = ("xmin", "ymin", "xmax", "ymax")
FILES_AT_ONCE = 512
"""Files that are held in memory together while classes are found."""


@dataclass(frozen=True)
class _Tree:
    """An unpacked data set.

    Parameters
    ----------
    base : str
        The folder that holds JPEGImages and the others.
    lists : frozenset of str
        URIs of the files in ImageSets.
    kinds : tuple of str
        Folders of ImageSets where a split is looked for, the first that has it counts.
    """

    base: str
    lists: frozenset[str]
    kinds: tuple[str, ...]

    def folder(self, name: str) -> str:
        return storage.join(self.base, name)


def read_voc2012(root: str, split: str | None, with_classes: bool) -> DataSetListing:
    """Read Pascal VOC 2012; see `jobs.inputs.data_sets.read_data_set`."""
    tree = _find("voc2012", root, ("VOC2012", "VOCdevkit/VOC2012"), ("Segmentation",))
    return _read(tree, VOC2012_CLASSES, split or SPLITS[0], with_classes)


def read_voc(root: str, split: str | None, with_classes: bool) -> DataSetListing:
    """Read a data set in the layout of Pascal VOC whose classes stand in classes.txt.

    A split without a list in ImageSets/Segmentation is taken from ImageSets/Main.
    """
    tree = _find("voc", root, (), ("Segmentation", "Main"))
    return _read(tree, read_lines(tree.folder("classes.txt")), split or SPLITS[0], with_classes)


def _find(name: str, root: str, inside: Sequence[str], kinds: tuple[str, ...]) -> _Tree:
    for base in [root, *(storage.join(root, folder) for folder in inside)]:
        lists = reading(storage.join(base, "ImageSets"), storage.list_files)
        if lists:
            return _Tree(base, frozenset(lists), kinds)
    places = f", there or inside {' or '.join(inside)}" if inside else ""
    raise SettingsError(
        f"there is no data set {name} at {storage.redacted(root)}: looked for ImageSets/Segmentation/*.txt{places}"
    )


def _read(tree: _Tree, class_names: Sequence[str], split: str, with_classes: bool) -> DataSetListing:
    stems, kind = _split(tree, split)
    images = files_by_stem(tree.folder("JPEGImages"), IMAGES)
    check_complete(stems, images, "photograph", tree.folder("JPEGImages"), IMAGES[0])
    masks = files_by_stem(tree.folder("SegmentationClass"), MASKS)
    if kind == "Segmentation":
        check_complete(stems, masks, "mask", tree.folder("SegmentationClass"), MASKS[0])
    stems = sorted(stems, key=images.__getitem__)
    classes = _classes(tree, stems, masks, class_names) if with_classes else {}
    return DataSetListing(
        image_uris=[images[stem] for stem in stems],
        mask_uris=[masks.get(stem) for stem in stems],
        class_names_of_images=[classes.get(stem) for stem in stems],
        class_names=tuple(class_names),
        mask_format="voc",
    )


def _split(tree: _Tree, split: str) -> tuple[list[str], str]:
    """Return the sorted image names of a split, and the folder of ImageSets that they were read from."""
    if split == "finetune":
        everything = _listed(tree, "Main", "trainval")
        if everything is None:
            raise _no_list(tree, ("Main",), "trainval")
        names, kind = everything - set(_split(tree, "val")[0]), "Main"
    else:
        for kind in tree.kinds:
            listed = _listed(tree, kind, split)
            if listed is not None:
                names = listed
                break
        else:
            raise _no_list(tree, tree.kinds, split)
    if not names:
        raise SettingsError(f"the split {split} of {storage.redacted(tree.base)} names no images")
    return sorted(names), kind


def _listed(tree: _Tree, kind: str, split: str) -> set[str] | None:
    uri = storage.join(tree.base, "ImageSets", kind, f"{split}.txt")
    if uri in tree.lists:
        return set(read_lines(uri))
    if split == "trainval":
        train, val = _listed(tree, kind, "train"), _listed(tree, kind, "val")
        return None if train is None or val is None else train | val
    return None


def _no_list(tree: _Tree, kinds: Sequence[str], split: str) -> SettingsError:
    places = " or ".join(f"ImageSets/{kind}/{split}.txt" for kind in kinds)
    return SettingsError(f"the split {split} is missing in {storage.redacted(tree.base)}: looked for {places}")


def _classes(tree: _Tree, stems: list[str], masks: dict[str, str], class_names: Sequence[str]) -> dict[str, str]:
    """Find the class of the largest labelled object of every image; images without objects are left out."""
    found = _classes_of_masks(tree, stems, masks, class_names)
    rest = [stem for stem in stems if stem not in found]
    return found | _classes_of_boxes(tree.folder("Annotations"), rest, class_names)


def _classes_of_masks(
    tree: _Tree, stems: list[str], masks: dict[str, str], class_names: Sequence[str]
) -> dict[str, str]:
    instances = files_by_stem(tree.folder("SegmentationObject"), MASKS)
    found = {}
    for batch in _batches([stem for stem in stems if stem in masks and stem in instances], FILES_AT_ONCE // 2):
        files = storage.read_many([folder[stem] for folder in (masks, instances) for stem in batch])
        for stem, class_file, object_file in zip(batch, files[: len(batch)], files[len(batch) :], strict=True):
            of_class, of_object = _indices(masks[stem], class_file), _indices(instances[stem], object_file)
            if of_class.shape != of_object.shape:
                raise SettingsError(
                    f"{storage.redacted(masks[stem])} and {storage.redacted(instances[stem])} differ in size: "
                    "unpack the data set again"
                )
            index = _largest_instance(of_class, of_object)
            if index > len(class_names):
                raise SettingsError(
                    f"{storage.redacted(masks[stem])} holds the class index {index}, "
                    f"but the data set has {len(class_names)} classes"
                )
            if index:
                found[stem] = class_names[index - 1]
    return found


def _classes_of_boxes(folder: str, stems: list[str], class_names: Sequence[str]) -> dict[str, str]:
    found, read = {}, {}
    for batch in _batches(stems, FILES_AT_ONCE):
        uris = [storage.join(folder, f"{stem}.xml") for stem in batch]
        for stem, uri, content in zip(batch, uris, storage.read_many(uris), strict=True):
            if isinstance(content, FileNotFoundError):
                continue
            read[stem] = uri
            name = _class_of_largest_box(uri, content)
            if name is None:
                continue
            if name not in class_names:
                raise SettingsError(
                    f"{storage.redacted(uri)} names the class {name!r}, which the data set does not have"
                )
            found[stem] = name
    check_complete(stems, read, "annotation", folder, ".xml")
    return found


def _batches(stems: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(stems), size):
        yield stems[start : start + size]


def _indices(uri: str, content: bytes | Exception) -> NDArray[np.uint8]:
    if isinstance(content, Exception):
        raise unreadable(uri, content)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            mode, indices = image.mode, np.asarray(image)
    except Exception as error:  # damaged bytes make Pillow raise nearly anything
        raise unreadable(uri, error) from error
    if mode not in ("P", "L"):
        raise SettingsError(f"{storage.redacted(uri)} is no image of palette indices (its mode is {mode})")
    return indices


def _largest_instance(of_class: NDArray[np.uint8], of_object: NDArray[np.uint8]) -> int:
    """Return the class index of the object with the most labelled pixels, 0 if no pixel is labelled."""
    joint = of_object.astype(np.intp) * 256 + of_class
    pixels = np.bincount(joint.ravel(), minlength=256 * 256).reshape(256, 256)
    pixels[[0, VOID_INDEX], :] = 0
    pixels[:, [0, VOID_INDEX]] = 0
    return int(pixels[pixels.sum(axis=1).argmax()].argmax())


def _class_of_largest_box(uri: str, content: bytes | Exception) -> str | None:
    """Return the class name of the object with the largest box, None if there is no object."""
    if isinstance(content, Exception):
        raise unreadable(uri, content)
    try:
        boxes = [_named_area(element) for element in ElementTree.fromstring(content).findall("object")]
    except (ElementTree.ParseError, ValueError) as error:
        raise unreadable(uri, error) from error
    return max(boxes, key=lambda box: box[1])[0] if boxes else None


def _named_area(element: ElementTree.Element) -> tuple[str, float]:
    """Return the class name of an object and the area of its box in pixels."""
    texts = [element.findtext(path) for path in ("name", *(f"bndbox/{corner}" for corner in BOX))]
    name, *corners = [text.strip() for text in texts if text] or [""]
    if len(corners) < len(BOX):
        raise ValueError(f"an object needs a name and a bndbox with {', '.join(BOX)}")
    # Not integers: a few files of VOC 2012 have fractions.
    left, top, right, bottom = map(float, corners)
    # The pixels at the corners belong to the box.
    return name, (right - left + 1) * (bottom - top + 1)
