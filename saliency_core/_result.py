"""All that is known of one image, and pictures of it."""

import base64
import html
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from saliency_core._arrays import min_max
from saliency_core.errors import ArgumentError
from saliency_core.imaging.png import encode_png
from saliency_core.imaging.resizing import resize_longest_side
from saliency_core.refining.refinement import SaliencyMap
from saliency_core.segmentation.saliency_cut import saliency_cut
from saliency_core.superpixels.statistics import LabelMap

_SHOWN_SIDE = 320
"""Longest side of the pictures in a notebook, pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class SaliencyResult:
    """All that is known of one image.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
        The image itself.
    maps : dict of str to float32 array (H, W)
        One map a stage of the method, at the image's own size, >= 0. Where a stage has one value a superpixel, so it
        has at this size.
    label, label_name, probability : int, str, float
        The class that was recognised or given, and its softmax probability. None without a network.
    logit_before, logit_after, drift : float
        The label's logit on the original image and at the last forward pass, and the root mean square change
        of all other logits there: the first should fall, the last stay small. None without a network.
    superpixels : int32 array (H, W)
        Superpixel labels 0..n-1 at the image's own size. None where the method has none.
    """

    image: NDArray[np.uint8]
    maps: dict[str, SaliencyMap] = field(default_factory=dict)
    label: int | None = None
    label_name: str | None = None
    probability: float | None = None
    logit_before: float | None = None
    logit_after: float | None = None
    drift: float | None = None
    superpixels: LabelMap | None = None

    @property
    def map(self) -> SaliencyMap:
        """The map of the method's last stage, float32 (H, W)."""
        return self.maps[self._stage(None)]

    def overlay(self, stage: str | None = None, opacity: float = 0.6) -> NDArray[np.uint8]:
        """Draw a map over the image in the colours of a flame: dark where nothing is salient.

        Parameters
        ----------
        stage : str, optional
            A key of `maps`. Default: the last.
        opacity : float
            Of the colours, 0..1; what is left is the image.

        Returns
        -------
        uint8 array (H, W, 3)

        Raises
        ------
        ArgumentError
            If there is no such stage, or the opacity lies outside 0..1.
        """
        if not 0 <= opacity <= 1:
            raise ArgumentError(f"opacity must be in 0..1, not {opacity}")
        levels = np.rint(255 * min_max(self.maps[self._stage(stage)].astype(np.float64))).astype(np.uint8)
        colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[:, :, ::-1]
        return np.rint(opacity * colours + (1 - opacity) * self.image).astype(np.uint8)

    def mask(
        self, how: Literal["saliency-cut", "otsu"] | float = "saliency-cut", stage: str | None = None
    ) -> NDArray[np.bool_]:
        """Cut the salient object out.

        Parameters
        ----------
        how : {"saliency-cut", "otsu"} or float
            By repeated GrabCut from the map (see `saliency_core.segmentation.saliency_cut`), or where the map, brought
            to 0..1, is at least Otsu's threshold or the one given.
        stage : str, optional
            A key of `maps`. Default: the last.

        Returns
        -------
        bool array (H, W)
            True on the object; all False where the map is constant.

        Raises
        ------
        ArgumentError
            If there is no such stage or way.
        """
        map_ = self.maps[self._stage(stage)]
        if how == "saliency-cut":
            return saliency_cut(self.image, map_)
        values = min_max(map_.astype(np.float64))
        if how == "otsu":
            threshold = float(threshold_otsu(values)) if values.any() else 1.0
        elif isinstance(how, int | float) and not isinstance(how, bool) and 0 < how <= 1:
            threshold = float(how)
        else:
            raise ArgumentError(f"a mask is cut by 'saliency-cut', 'otsu' or a threshold in (0, 1], not by {how!r}")
        return values >= threshold

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        known = "" if self.label is None else f", label {self.label} ({self.label_name}, {self.probability:.2f})"
        return f"SaliencyResult({height} x {width}, maps {', '.join(self.maps)}{known})"

    def _repr_html_(self) -> str:
        """Show image, overlay and object in a notebook."""
        image = resize_longest_side(self.image, _SHOWN_SIDE)
        overlay = resize_longest_side(self.overlay(), _SHOWN_SIDE)
        stages = [self.maps[stage] for stage in self.maps]
        levels = [np.rint(255 * min_max(map_.astype(np.float64))).astype(np.uint8) for map_ in stages]
        maps = [resize_longest_side(np.repeat(level[:, :, None], 3, axis=2), _SHOWN_SIDE) for level in levels]
        pictures = {"image": image, **dict(zip(self.maps, maps, strict=True)), "overlay": overlay}
        cells = "".join(
            f'<td style="text-align:center"><img alt="{html.escape(name)}" '
            f'src="data:image/png;base64,{base64.b64encode(encode_png(picture)).decode()}"><br>{html.escape(name)}</td>'
            for name, picture in pictures.items()
        )
        caption = ""
        if self.label_name is not None:
            text = f"{self.label_name} ({self.probability:.2f}), logit {self.logit_before:.1f} → {self.logit_after:.1f}"
            caption = f"<caption>{html.escape(text)}</caption>"
        return f"<table>{caption}<tr>{cells}</tr></table>"

    def _stage(self, stage: str | None) -> str:
        if stage is None:
            return list(self.maps)[-1]
        if stage not in self.maps:
            raise ArgumentError(f"there is no stage {stage!r}: choose one of {', '.join(self.maps)}")
        return stage
