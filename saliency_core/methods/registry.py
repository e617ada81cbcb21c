"""The saliency methods by name.

A method with a network is a function from a batch of inputs to an `Attribution`; its raw map goes through the same
chain of stages for all of them. A method without one is a function from an image to its maps. To add a method, write
it in a file of its own here and register it in `METHODS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from saliency_core.methods.attribution import Attribution, SuperpixelAttribution
from saliency_core.parameters import OBJECTS, STAGES, SaliencyParameters, ViewParameters

if TYPE_CHECKING:
    from saliency_core.networks.classifier import Classifier
    from saliency_core.refining.refinement import SaliencyMap
    from saliency_core.superpixels.regions import Regions

Labels = NDArray[np.integer] | None
ManyRegions = Sequence["Regions"]
"""The superpixels of each image, for methods that ask for them."""


@dataclass(frozen=True)
class NetworkMethod:
    """A method that asks a classifier.

    Parameters
    ----------
    name : str
    attribute : callable
        ``(classifier, images uint8 (B, S, S, 3), labels (B,) or None, parameters, regions) -> Attribution``; the
        regions are there where the method asks for them.
    stages : tuple of str
        Names of its maps, in order; `stages_of` adds that of whole objects.
    is_of_superpixels : bool
        Whether it looks at every superpixel by itself: its maps then have one value a superpixel.
    side : callable
        From the side of the network's input to that of the square to which images are squashed for the method.
    """

    name: str
    attribute: Callable[
        ["Classifier", NDArray[np.uint8], Labels, SaliencyParameters, ManyRegions], Attribution | SuperpixelAttribution
    ]
    stages: tuple[str, ...] = STAGES
    is_of_superpixels: bool = False
    side: Callable[[int], int] = int


@dataclass(frozen=True)
class ImageMethod:
    """A method that looks at the image alone.

    Parameters
    ----------
    name : str
    maps : callable
        ``(image uint8 (H, W, 3), parameters) -> {stage: float32 (H, W)}``.
    stages : tuple of str
        Names of its maps, in order.
    is_of_superpixels : bool
        Whether its maps have one value a superpixel.
    """

    name: str
    maps: Callable[[NDArray[np.uint8], SaliencyParameters], dict[str, "SaliencyMap"]]
    stages: tuple[str, ...] = ("saliency",)
    is_of_superpixels: bool = False

    def enlarged(self, map_: "SaliencyMap", height: int, width: int) -> "SaliencyMap":
        """Bring one of its maps (h, w) to another size, as suits the method."""
        from saliency_core.imaging.resizing import nearest, resize_map

        return nearest(map_, height, width) if self.is_of_superpixels else resize_map(map_, height, width)


Method = NetworkMethod | ImageMethod

STUDENT = "student"
"""The method, and its map, of a network that was taught to give maps."""
MULTI_CONTEXT = "multi-context"
"""The method of two networks that were taught to tell salient windows."""
TAUGHT = {
    STUDENT: ("a network that was taught to give maps", "jobs.distil"),
    MULTI_CONTEXT: ("networks that were taught to tell salient windows", "jobs.train_multi_context"),
}
"""Methods whose networks a job has to make first: what they need, and which job leaves it."""


# Each method imports what it needs when it runs: who checks a name does not wait for numba, who only makes maps neither
# waits for torch nor holds its memory.
def _clamped_erasure(
    classifier: "Classifier", images: NDArray[np.uint8], labels: Labels, parameters: SaliencyParameters, _: ManyRegions
) -> Attribution:
    from saliency_core.methods.clamped_erasure import erase

    return erase(classifier, images, labels, parameters.erasure, _views(parameters))


def _gradient(
    classifier: "Classifier", images: NDArray[np.uint8], labels: Labels, parameters: SaliencyParameters, _: ManyRegions
) -> Attribution:
    from saliency_core.methods.gradient import input_gradient

    return input_gradient(classifier, images, labels, _views(parameters))


def _student(
    classifier: "Classifier", images: NDArray[np.uint8], labels: Labels, parameters: SaliencyParameters, _: ManyRegions
) -> Attribution:
    from saliency_core.methods.student import student_map

    return student_map(classifier, images, labels, parameters.views)


def _multi_context(
    classifier: "Classifier",
    images: NDArray[np.uint8],
    _: Labels,
    parameters: SaliencyParameters,
    regions: ManyRegions,
) -> SuperpixelAttribution:
    from saliency_core.methods.multi_context import multi_context

    return multi_context(classifier, images, regions, _views(parameters).depths)


def _multi_context_side(input_size: int) -> int:
    from saliency_core.methods.windows import image_side

    return image_side(input_size)


def _views(parameters: SaliencyParameters) -> ViewParameters:
    return parameters.views if parameters.objects.objects else replace(parameters.views, depths=False)


def stages_of(method: str, parameters: SaliencyParameters) -> tuple[str, ...]:
    """Return the names of a method's maps, in order: `objects` is the last one where it is made."""
    chosen = METHODS[method]
    has_objects = isinstance(chosen, NetworkMethod) and parameters.objects.objects
    return (*chosen.stages, OBJECTS) if has_objects else chosen.stages


def _low_level(image: NDArray[np.uint8], parameters: SaliencyParameters) -> "dict[str, SaliencyMap]":
    from saliency_core.refining.stages import describe_superpixels

    superpixels = describe_superpixels(image, replace(parameters, objects=replace(parameters.objects, objects=False)))
    return {"saliency": superpixels.low_level[superpixels.labels]}


def _region_contrast(image: NDArray[np.uint8], parameters: SaliencyParameters) -> "dict[str, SaliencyMap]":
    from saliency_core.methods.region_contrast import region_contrast

    return {"saliency": region_contrast(image)}


def _histogram_contrast(image: NDArray[np.uint8], parameters: SaliencyParameters) -> "dict[str, SaliencyMap]":
    from saliency_core.methods.histogram_contrast import histogram_contrast

    return {"saliency": histogram_contrast(image)}


def _center_gaussian(image: NDArray[np.uint8], parameters: SaliencyParameters) -> "dict[str, SaliencyMap]":
    from saliency_core.methods.center_gaussian import center_gaussian

    return {"saliency": center_gaussian(*image.shape[:2])}


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        NetworkMethod("clamped-erasure", _clamped_erasure),
        NetworkMethod("gradient", _gradient),
        NetworkMethod(STUDENT, _student, (STUDENT,)),
        NetworkMethod(MULTI_CONTEXT, _multi_context, ("global", "multi_context"), True, _multi_context_side),
        ImageMethod("region-contrast", _region_contrast),
        ImageMethod("histogram-contrast", _histogram_contrast),
        ImageMethod("low-level", _low_level, is_of_superpixels=True),
        ImageMethod("center-gaussian", _center_gaussian),
    )
}
"""Every method by its name on the command line."""
