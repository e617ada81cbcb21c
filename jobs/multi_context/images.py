"""The images of a run with their masks: listed once, decoded as a stream, each with its superpixels."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import ray.data
from numpy.typing import NDArray

from jobs.decoding.files import Fields
from jobs.errors import SettingsError
from jobs.inputs.sources import open_inputs
from jobs.multi_context.settings import MultiContextSettings
from jobs.training.loading import Masks, image_set
from saliency_core.imaging.options import MaskFormat
from saliency_core.parameters import SuperpixelParameters
from saliency_core.superpixels.regions import CELLS, Regions
from saliency_core.superpixels.statistics import slic_superpixels

NONE = -1.0
"""The share of a superpixel that there is not."""


@dataclass(frozen=True)
class MaskedImages:
    """Images with masks.

    Parameters
    ----------
    uris, mask_uris : list of str
    """

    uris: list[str]
    mask_uris: list[str]

    def __len__(self) -> int:
        return len(self.uris)

    def chosen(self, places: NDArray[np.int64]) -> "MaskedImages":
        """Return some of them."""
        return MaskedImages([self.uris[i] for i in places], [self.mask_uris[i] for i in places])


@dataclass(frozen=True)
class Images:
    """All images of a run.

    Parameters
    ----------
    parts : dict of str to MaskedImages
        Those to train on, and those held out.
    mask_format : {"auto", "binary", "voc", "ids"}
    without_mask : int
        Images that were left out, since they have none.
    """

    parts: dict[str, MaskedImages]
    mask_format: MaskFormat
    without_mask: int

    @property
    def sha256(self) -> str:
        """Digest of images and masks."""
        digest = hashlib.sha256(self.mask_format.encode())
        for name, part in self.parts.items():
            digest.update(name.encode())
            for row in zip(part.uris, part.mask_uris, strict=True):
                digest.update(repr(row).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def list_images(settings: MultiContextSettings) -> Images:
    """List the images that the settings name, and hold a share of them out.

    Raises
    ------
    SettingsError
        If they cannot be read, or fewer than two have a mask.
    """
    inputs = open_inputs(settings)
    pairs, without = [], 0
    for batch in inputs.batches:
        for uri, mask in zip(batch.image_uris, batch.mask_uris, strict=True):
            if mask is None:
                without += 1
            else:
                pairs.append((uri, mask))
    if len(pairs) < 2:
        raise SettingsError(
            f"{len(pairs)} images of {settings.source} have a mask, training needs at least 2: give --masks, "
            "or a data set with masks"
        )
    whole = MaskedImages(*(list(column) for column in zip(*pairs, strict=True)))
    order = np.random.default_rng(settings.seed).permutation(len(whole))
    held_out = min(max(1, round(settings.validation_share * len(whole))), len(whole) - 1)
    parts = {"train": order[held_out:], "validation": order[:held_out]}
    wanted = inputs.mask_format if settings.mask_format == "auto" else settings.mask_format
    return Images({name: whole.chosen(np.sort(places)) for name, places in parts.items()}, wanted, without)


def most_superpixels(segments: int) -> int:
    """Return how many superpixels there can be of so many asked for: none has less than half of the mean size."""
    return 2 * segments + 1


def masked_set(
    images: MaskedImages,
    side: int,
    settings: MultiContextSettings,
    mask_format: MaskFormat,
    *,
    multiple: int = 1,
    shuffled: bool = True,
) -> ray.data.Dataset:
    """Make a lazy set of decoded images with their superpixels; see `jobs.training.loading.image_set`.

    Returns
    -------
    ray.data.Dataset
        Its own columns: ``centres`` float32 (n, 2) and ``cells`` int16 (CELLS, CELLS), as of `Regions`; ``areas``
        float32 (n,), pixels that the mask says something about; ``shares`` float32 (n,), the part of them that is
        foreground, and -1 for a superpixel that there is not. n is `most_superpixels`.
    """
    columns = partial(superpixel_columns, SuperpixelParameters(settings.segments))
    return image_set(
        images.uris,
        side,
        {},
        max_pixels=settings.max_pixels,
        multiple=multiple,
        seed=settings.seed if shuffled else None,
        masks=Masks(images.mask_uris, mask_format, columns),
    )


def superpixel_columns(
    parameters: SuperpixelParameters, pair: tuple[Fields, Fields] | None
) -> Mapping[str, NDArray[np.generic]]:
    """Make the columns of one image from what the decoder says of it and of its mask; see `masked_set`."""
    most = most_superpixels(parameters.segments)
    centres, areas = np.zeros((most, 2), np.float32), np.zeros(most, np.float32)
    shares, cells = np.full(most, NONE, np.float32), np.zeros((CELLS, CELLS), np.int16)
    if pair is not None:
        image, mask = pair
        size = image["map_height"], image["map_width"]
        pixels = np.frombuffer(image["pixels"], np.uint8).reshape(*size, 3)
        foreground, valid = (
            np.unpackbits(np.frombuffer(mask[name], np.uint8), count=size[0] * size[1]).astype(bool)
            for name in ("mask_foreground", "mask_valid")
        )
        labels = slic_superpixels(pixels, parameters.segments, parameters.compactness, parameters.slic)
        regions = Regions.of(labels)
        count = min(len(regions.centres), most)
        known = np.bincount(labels.ravel(), weights=valid, minlength=count)[:count]
        inside = np.bincount(labels.ravel(), weights=valid & foreground, minlength=count)[:count]
        centres[:count], cells[:] = regions.centres[:count], np.minimum(regions.cells, most - 1)
        areas[:count] = known
        shares[:count] = np.where(known > 0, inside / np.maximum(known, 1), 0.0)
    return {"centres": centres, "areas": areas, "shares": shares, "cells": cells}
