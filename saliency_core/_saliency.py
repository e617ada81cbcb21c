"""From images to saliency maps, for notebooks and scripts: one image, or a stream of them."""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saliency_core._given_images import ImageLike, pixels_of
from saliency_core._result import SaliencyResult
from saliency_core.errors import ArgumentError, SaliencyError
from saliency_core.imaging.resizing import resize_longest_side, squash
from saliency_core.methods.attribution import NO_LABEL
from saliency_core.methods.registry import METHODS, ImageMethod, Method, NetworkMethod
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import WORKING_SIZE, SaliencyParameters
from saliency_core.refining.stages import Superpixels, describe_superpixels, maps_of_method
from saliency_core.superpixels.regions import Regions

IMAGES_A_PASS = 16
"""Images that go through the network together: of more the memory grows, and on a CPU each of them takes longer."""


def saliency(
    image: ImageLike,
    classifier: Classifier | None = None,
    *,
    method: str = "clamped-erasure",
    label: int = NO_LABEL,
    parameters: SaliencyParameters = SaliencyParameters(),
    working_size: int = WORKING_SIZE,
) -> SaliencyResult:
    """Compute the saliency maps of one image.

    Parameters
    ----------
    image : uint8 array (H, W, 3), PIL.Image.Image or path
        sRGB image; a file is read with `saliency_core.imaging`.
    classifier : Classifier, optional
        From `load_classifier` or `Classifier.from_module`; methods that look at the image alone need none.
    method : str
        A key of `METHODS`.
    label : int
        Class to explain; -1 stands for the recognised class.
    parameters : SaliencyParameters
    working_size : int
        Superpixels of images with a longer side are computed on a reduction to it; the maps have the image's size.

    Returns
    -------
    SaliencyResult

    Raises
    ------
    ArgumentError
        If the image, the label or the method is not usable.
    DecodeError
        If a file cannot be read as an image.
    NotFiniteError
        If numbers of the network are not finite for this image.

    Examples
    --------
    >>> from saliency_core import load_classifier, saliency
    >>> classifier = load_classifier("squeezenet1_1", "random")  # or "pretrained", or a file of weights
    >>> image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    >>> result = saliency(image, classifier)
    >>> list(result.maps), result.maps["refined"].shape
    (['raw', 'smoothed', 'refined', 'objects'], (60, 80))
    """
    run = _checked(classifier, method, parameters, working_size)
    given = _label(label, run.classifier)
    return next(_batch([_Image(None, pixels_of(image), given)], run))


def saliency_batch(
    images: Iterable[ImageLike],
    classifier: Classifier | None = None,
    *,
    method: str = "clamped-erasure",
    labels: Iterable[int] | None = None,
    parameters: SaliencyParameters = SaliencyParameters(),
    working_size: int = WORKING_SIZE,
    batch_size: int = IMAGES_A_PASS,
    progress: bool = False,
) -> Iterator[SaliencyResult]:
    """Compute the saliency maps of many images, a batch at a time.

    Parameters
    ----------
    images : iterable of images
        Each as for `saliency`; they may differ in size and kind, and are asked for as they are needed.
    classifier, method, parameters, working_size
        As for `saliency`.
    labels : iterable of int, optional
        Class to explain for each image; -1 (and the default) stands for the recognised class.
    batch_size : int
        Images that go through the network together.
    progress : bool
        Whether a bar shows how far it is.

    Returns
    -------
    iterator of SaliencyResult
        In the order of the images.

    Raises
    ------
    ArgumentError, DecodeError, NotFiniteError
        As `saliency`; what concerns an image says which, counted from 0, and comes when that image's turn does.

    Examples
    --------
    >>> from saliency_core import saliency_batch
    >>> images = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    >>> [result.map.shape for result in saliency_batch(images, method="region-contrast")]
    [(40, 50), (40, 50), (40, 50)]
    """
    run = _checked(classifier, method, parameters, working_size)
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ArgumentError(f"batch_size must be a whole number, 1 or more, not {batch_size!r}")
    if isinstance(images, str) or not isinstance(images, Iterable):
        raise ArgumentError(f"images must be several images, not {type(images).__name__}: for one there is saliency()")
    if labels is not None and not isinstance(labels, Iterable):
        raise ArgumentError(f"labels must be one whole number an image, not {type(labels).__name__}")
    if isinstance(images, Sized) and isinstance(labels, Sized) and len(images) != len(labels):
        raise ArgumentError(f"{len(images)} images need as many labels, not {len(labels)}")
    total = len(images) if isinstance(images, Sized) else None
    results = _stream(iter(images), None if labels is None else iter(labels), run, batch_size)
    return _with_bar(results, total) if progress else results


class _Run(NamedTuple):
    """What is the same for all images; `classifier` is None where the method needs none."""

    classifier: Classifier | None
    method: Method
    parameters: SaliencyParameters
    working_size: int


class _Image(NamedTuple):
    """One image; `place` is its number in a stream."""

    place: int | None
    pixels: NDArray[np.uint8]
    label: int


def _checked(classifier: Classifier | None, method: str, parameters: SaliencyParameters, working_size: int) -> _Run:
    if method not in METHODS:
        raise ArgumentError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    if classifier is not None and not isinstance(classifier, Classifier):
        raise ArgumentError(
            f"a classifier is made by load_classifier or Classifier.from_module, it is no {type(classifier).__name__}"
        )
    if not isinstance(parameters, SaliencyParameters):
        raise ArgumentError(f"parameters must be SaliencyParameters, not {type(parameters).__name__}")
    if isinstance(working_size, bool) or not isinstance(working_size, Integral) or working_size < 1:
        raise ArgumentError(f"working_size must be a whole number of pixels, 1 or more, not {working_size!r}")
    chosen = METHODS[method]
    if isinstance(chosen, ImageMethod):
        return _Run(None, chosen, parameters, working_size)
    if classifier is None:
        raise ArgumentError(f"{method} needs a classifier: make one with load_classifier")
    return _Run(classifier, chosen, parameters, working_size)


def _label(label: object, classifier: Classifier | None) -> int:
    if isinstance(label, bool | np.bool_) or not isinstance(label, Integral):
        raise ArgumentError(f"a label must be a whole number, the number of a class, not {label!r}")
    number = int(label)
    if classifier is not None and not NO_LABEL <= number < len(classifier.class_names):
        raise ArgumentError(
            f"a label must be -1 or lie in 0..{len(classifier.class_names) - 1}, the network's classes, not {number}"
        )
    return number


def _stream(
    images: Iterator[ImageLike], labels: Iterator[int] | None, run: _Run, batch_size: int
) -> Iterator[SaliencyResult]:
    place = 0
    while given := list(islice(images, batch_size)):
        batch = []
        for image in given:
            label = NO_LABEL if labels is None else next(labels, None)
            if label is None:
                raise ArgumentError(f"there are only {place} labels: give as many as images")
            try:
                batch.append(_Image(place, pixels_of(image), _label(label, run.classifier)))
            except SaliencyError as error:
                raise type(error)(f"image {place}: {error}") from error
            place += 1
        yield from _batch(batch, run)
    if labels is not None and next(labels, None) is not None:
        raise ArgumentError(f"there are only {place} images: give as many labels, no more")


def _batch(batch: list[_Image], run: _Run) -> Iterator[SaliencyResult]:
    if isinstance(run.method, ImageMethod):
        for image in batch:
            yield _of_image_alone(image, run.method, run)
        return
    assert isinstance(run.method, NetworkMethod)
    assert run.classifier is not None
    side = run.method.side(run.classifier.preprocessing.input_size)
    inputs = np.stack([squash(image.pixels, side) for image in batch])
    labels = np.array([image.label for image in batch], np.int64)
    described: list[Superpixels] = []
    if run.method.is_of_superpixels:
        described = [_described(image, run) for image in batch]
    regions = [Regions.of(one.labels) for one in described]
    found = run.method.attribute(run.classifier, inputs, labels, run.parameters, regions)
    for index, image in enumerate(batch):
        try:
            said = found.image(index)
        except SaliencyError as error:
            raise error if image.place is None else type(error)(f"image {image.place}: {error}") from error
        superpixels = described[index] if described else _described(image, run)
        superpixels = superpixels.at_size(*image.pixels.shape[:2])
        yield SaliencyResult(
            image=image.pixels,
            maps=maps_of_method(run.method, said.raw, superpixels, run.parameters, said.evidence, said.features),
            label=said.label,
            label_name=None if said.label is None else run.classifier.class_names[said.label],
            probability=said.probability,
            logit_before=said.logit_before,
            logit_after=said.logit_after,
            drift=said.drift,
            superpixels=superpixels.labels,
        )


def _described(image: _Image, run: _Run) -> Superpixels:
    return describe_superpixels(resize_longest_side(image.pixels, run.working_size), run.parameters)


def _of_image_alone(image: _Image, method: ImageMethod, run: _Run) -> SaliencyResult:
    maps = method.maps(resize_longest_side(image.pixels, run.working_size), run.parameters)
    height, width = image.pixels.shape[:2]
    return SaliencyResult(image.pixels, {stage: method.enlarged(map_, height, width) for stage, map_ in maps.items()})


def _with_bar(results: Iterator[SaliencyResult], total: int | None) -> Iterator[SaliencyResult]:
    from rich.progress import track  # only who wants a bar waits for it

    return iter(track(results, "saliency", total=total))
