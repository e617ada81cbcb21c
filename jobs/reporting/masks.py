"""Masks fetched again for rows of results, and proved to be those that the rows were scored with."""

from typing import Any

import numpy as np

from saliency_core.imaging.masks import Mask, MaskError, decode_mask, orient_mask, resize_mask
from saliency_core.imaging.png import decode_png_map
from saliency_core.scoring.histograms import map_histograms

_ORIENTATIONS = range(1, 9)


def mask_of_row(content: bytes, row: dict[str, Any], stage: str, settings: dict[str, Any]) -> Mask:
    """Decode a mask and bring it to the size and orientation of a row's maps.

    The results do not keep the orientation of the photograph. They keep the histograms of every map over the mask's
    foreground and background, and the mask turned and resized rightly is the one that gives these very histograms.

    Parameters
    ----------
    content : bytes
        The mask's file.
    row : dict
        With `width`, `height`, and the map and the two histograms of the stage.
    stage : str
        Any stage of the run.
    settings : dict
        Settings of the run.

    Returns
    -------
    Mask, of the size of the maps.

    Raises
    ------
    MaskError
        If the file is no mask, or not the one that the row was scored with.
    """
    map_8bit = decode_png_map(row[f"map_{stage}"]["bytes"])
    decoded = decode_mask(content, format=settings["mask_format"], max_pixels=settings["max_pixels"])
    for orientation in _ORIENTATIONS:
        turned = orient_mask(decoded, orientation)
        if turned.shape != (row["height"], row["width"]):
            continue
        mask = resize_mask(turned, *map_8bit.shape)
        foreground, background = map_histograms(map_8bit, mask.foreground, mask.valid)
        if np.array_equal(foreground, row[f"foreground_histogram_{stage}"]) and np.array_equal(
            background, row[f"background_histogram_{stage}"]
        ):
            return mask
    raise MaskError("the mask has changed since the run: it does not give the histograms that the results hold")
