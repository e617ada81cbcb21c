"""One call from images to saliency maps, for notebooks and scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from saliency_core._arrays import check_rgb
from saliency_core.imaging.resizing import resize_longest_side, resize_map, squash
from saliency_core.methods.attribution import NO_LABEL, Attribution
from saliency_core.methods.registry import METHODS, ImageMethod
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import WORKING_SIZE, SaliencyParameters
from saliency_core.refining.refinement import SaliencyMap
from saliency_core.refining.stages import chain_of_maps, describe_superpixels
from saliency_core.superpixels.statistics import LabelMap

IMAGES_A_PASS = 16
"""Images that go through the network together: of more the memory grows, and on a CPU each of them takes longer."""


@dataclass(frozen=True)
class SaliencyResult:
    """All that is known of one image.

    Parameters
    ----------
    maps : dict of str to float32 array (H, W)
        One map a stage of the method, at the image's own size, >= 0.
    label, label_name, probability : int, str, float
        The class that was recognised or given, and its softmax probability. None without a network.
    logit_before, logit_after, drift : float
        The label's logit on the original image and at the last forward pass, and the root mean square change
        of all other logits there: the first should fall, the last stay small. None without a network.
    superpixels : int32 array (h, w)
        Superpixel labels 0..n-1 at working size. None where the method has none.
    """

    maps: dict[str, SaliencyMap]
    label: int | None = None
    label_name: str | None = None
    probability: float | None = None
    logit_before: float | None = None
    logit_after: float | None = None
    drift: float | None = None
    superpixels: LabelMap | None = None


@overload
def saliency(
    images: NDArray[np.uint8],
    classifier: Classifier | None = ...,
    *,
    method: str = ...,
    labels: int | None = ...,
    parameters: SaliencyParameters = ...,
    working_size: int = ...,
) -> SaliencyResult: ...
@overload
def saliency(
    images: Sequence[NDArray[np.uint8]],
    classifier: Classifier | None = ...,
    *,
    method: str = ...,
    labels: Sequence[int] | None = ...,
    parameters: SaliencyParameters = ...,
    working_size: int = ...,
) -> list[SaliencyResult]: ...
def saliency(
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    classifier: Classifier | None = None,
    *,
    method: str = "clamped-erasure",
    labels: int | Sequence[int] | None = None,
    parameters: SaliencyParameters = SaliencyParameters(),
    working_size: int = WORKING_SIZE,
) -> SaliencyResult | list[SaliencyResult]:
    """Compute the saliency maps of one image or of a batch.

    Parameters
    ----------
    images : uint8 array (H, W, 3), or sequence of them, or uint8 array (B, H, W, 3)
        sRGB images; those of a sequence may differ in size.
    classifier : Classifier, optional
        From `load_classifier`; methods that look at the image alone need none.
    method : str
        A key of `METHODS`.
    labels : int or sequence of int, optional
        Class to explain for each image; -1 (and the default) stands for the recognised class.
    parameters : SaliencyParameters
    working_size : int
        Images with a longer side are reduced to it for superpixels and maps; the maps come back at full size.

    Returns
    -------
    SaliencyResult or list of SaliencyResult
        One for one image, a list for a batch.

    Raises
    ------
    ValueError
        If an image, a label or the method is not usable.

    Examples
    --------
    >>> from saliency_core import load_classifier, saliency
    >>> classifier = load_classifier("squeezenet1_1", "random")  # or "pretrained", or a file of weights
    >>> image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    >>> result = saliency(image, classifier)
    >>> list(result.maps), result.maps["refined"].shape
    (['raw', 'smoothed', 'refined'], (60, 80))
    >>> len(saliency([image, image[:40]], classifier, labels=[3, -1]))
    2
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    single = isinstance(images, np.ndarray) and images.ndim == 3
    batch: Sequence[NDArray[np.uint8]] = [images] if single else list(images)  # type: ignore[list-item]
    for image in batch:
        check_rgb(image)
    given = [NO_LABEL] * len(batch) if labels is None else list(np.atleast_1d(np.asarray(labels, np.int64)))
    working = [resize_longest_side(image, working_size) for image in batch]
    chosen = METHODS[method]
    if isinstance(chosen, ImageMethod):
        results = [SaliencyResult(maps=chosen.maps(image, parameters)) for image in working]
    elif classifier is None:
        raise ValueError(f"{method} needs a classifier: make one with load_classifier")
    elif len(given) != len(batch):
        raise ValueError(f"{len(batch)} images need as many labels, not {len(given)}")
    else:
        results = []
        for start in range(0, len(batch), IMAGES_A_PASS):
            part = slice(start, start + IMAGES_A_PASS)
            inputs = np.stack([squash(image, classifier.preprocessing.input_size) for image in batch[part]])
            found = chosen.attribute(classifier, inputs, np.asarray(given[part]), parameters)
            results += _results(found, working[part], classifier.class_names, parameters)
    for result, image in zip(results, batch, strict=True):
        for stage, map_ in result.maps.items():
            result.maps[stage] = resize_map(map_, *image.shape[:2])
    return results[0] if single else results


def _results(
    found: Attribution, images: list[NDArray[np.uint8]], class_names: Sequence[str], parameters: SaliencyParameters
) -> list[SaliencyResult]:
    """Go from the raw maps of a pass to all that is known of its images; maps at working size."""
    results = []
    for index, image in enumerate(images):
        superpixels = describe_superpixels(image, parameters)
        results.append(
            SaliencyResult(
                maps=chain_of_maps(found.raw[index], superpixels, parameters),
                label=int(found.label[index]),
                label_name=class_names[found.label[index]],
                probability=float(found.probability[index]),
                logit_before=float(found.logit_before[index]),
                logit_after=float(found.logit_after[index]),
                drift=float(found.drift[index]),
                superpixels=superpixels.labels,
            )
        )
    return results
