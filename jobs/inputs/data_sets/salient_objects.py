"""Salient-object data sets: a folder of photographs and a folder of black-and-white masks of the same names."""

from collections.abc import Callable
from dataclasses import dataclass

from jobs.errors import SettingsError
from jobs.inputs.data_sets.listing import IMAGES, MASKS, DataSetListing, check_complete, files_by_stem
from jobs.storage import files as storage


@dataclass(frozen=True)
class Layout:
    """Where a data set's files lie below its root.

    Parameters
    ----------
    folders : tuple of (str, str)
        Folder of images and folder of masks, in the ways in which the data set is handed round.
    inside : tuple of str
        Folders that its archive may have put around them.
    """

    folders: tuple[tuple[str, str], ...]
    inside: tuple[str, ...]

    @property
    def looked_for(self) -> str:
        """The folders in words."""
        return " or ".join(f"{images}/*.jpg with {masks}/*.png" for images, masks in self.folders)


LAYOUTS = {
    "msra10k": Layout((("Imgs", "Imgs"),), ("MSRA10K_Imgs_GT", "MSRA10K")),
    "ecssd": Layout((("images", "ground_truth_mask"),), ("ECSSD",)),
    "dut-omron": Layout((("DUT-OMRON-image", "pixelwiseGT-new-PNG"),), ("DUT-OMRON",)),
    "duts-te": Layout((("DUTS-TE-Image", "DUTS-TE-Mask"),), ("DUTS-TE",)),
    "pascal-s": Layout(
        (("datasets/imgs/pascal", "datasets/masks/pascal"), ("images", "masks")), ("salObj", "PASCAL-S", "Pascal-S")
    ),
}


def read_salient_objects(name: str) -> Callable[[str, str | None, bool], DataSetListing]:
    """Return the reader of one of `LAYOUTS`; such a data set has neither splits nor classes."""

    def read(root: str, split: str | None, with_classes: bool) -> DataSetListing:
        return _read(name, LAYOUTS[name], root)

    return read


def _read(name: str, layout: Layout, root: str) -> DataSetListing:
    for base in [root, *(storage.join(root, folder) for folder in layout.inside)]:
        for image_folder, mask_folder in layout.folders:
            images = files_by_stem(storage.join(base, image_folder), IMAGES)
            if images:
                return _pair(images, storage.join(base, image_folder), storage.join(base, mask_folder))
    raise SettingsError(
        f"there is no data set {name} at {storage.redacted(root)}: "
        f"looked for {layout.looked_for}, there or inside {', '.join(layout.inside)}"
    )


def _pair(images: dict[str, str], image_folder: str, mask_folder: str) -> DataSetListing:
    masks = files_by_stem(mask_folder, MASKS)
    check_complete(list(images), masks, "mask", mask_folder, MASKS[0])
    if len(masks) > len(images):
        lonely = sorted(masks.keys() - images.keys())
        raise SettingsError(
            f"{len(lonely)} of {len(masks)} masks have no image in {storage.redacted(image_folder)} "
            f"(such as {lonely[0]}{IMAGES[0]}): unpack the data set in full"
        )
    return DataSetListing(
        image_uris=list(images.values()),
        mask_uris=[masks[stem] for stem in images],
        class_names_of_images=[None] * len(images),
        class_names=None,
        mask_format="binary",
    )
