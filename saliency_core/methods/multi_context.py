"""Multi-context deep saliency: every superpixel is looked at in the whole image, and again nearby.

A first network says of the window around each superpixel that holds the whole image how salient its middle is; where
it is in doubt, a second looks at a window of two thirds of the image, and at what the first said there. Both were
taught by masks (`jobs.train_multi_context`). The map is for no class.

References
----------
Zhao, Ouyang, Li, Wang, "Saliency Detection by Multi-Context Deep Learning", CVPR 2015; constants of its authors' code.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from saliency_core._arrays import min_max
from saliency_core.errors import ArgumentError
from saliency_core.methods.attribution import Features, SuperpixelAttribution
from saliency_core.methods.depths import DepthReader, depths_of, feature_depths, packed, unit_features
from saliency_core.methods.network_pass import normalised, pixels_of_images
from saliency_core.methods.window_network import MultiContext
from saliency_core.methods.windows import global_canvas, image_side, local_canvas, map_canvas
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.precision import arithmetic_of
from saliency_core.superpixels.regions import Regions

DOUBT = (0.2, 0.8)
"""Between these values of the first stage's map the second decides."""
SHARPNESS = 1.25
"""Of the exponential that the probabilities go through at the end."""
WINDOWS_A_PASS = {"cpu": 16, "cuda": 128}

Values = NDArray[np.float32]
"""One number a superpixel (n,)."""


def multi_context(
    classifier: Classifier, images: NDArray[np.uint8], regions: Sequence[Regions], with_features: bool = False
) -> SuperpixelAttribution:
    """Compute the maps of both stages of a batch of images; each image has passes of its own.

    Parameters
    ----------
    classifier : MultiContext
        Its networks may lie on any device; the work happens there.
    images : uint8 array (B, P, P, 3)
        sRGB images, squashed to `saliency_core.methods.windows.image_side` of the input size.
    regions : sequence of Regions
        The superpixels of each image.
    with_features : bool
        Whether the first network's layers are read as well, on the whole image: one more pass.

    Returns
    -------
    SuperpixelAttribution
        Two stages: of the first network, and of both.

    Raises
    ------
    ArgumentError
        If the classifier is no such pair, or images and regions do not fit.
    """
    if not isinstance(classifier, MultiContext):
        raise ArgumentError(
            "the method multi-context needs networks that were taught to tell salient windows: "
            "see jobs.train_multi_context"
        )
    if len(regions) != len(images):
        raise ArgumentError(f"{len(images)} images need as many regions, not {len(regions)}")
    side = image_side(classifier.preprocessing.input_size)
    if images.shape[1:3] != (side, side):
        raise ArgumentError(f"images must be squashed to {side} x {side} for this network, not {images.shape[1:3]}")
    pixels = pixels_of_images(classifier, images, side)
    with torch.inference_mode(), arithmetic_of(classifier.precision):
        whole = normalised(classifier, pixels)
        values = tuple(_stages(classifier, whole[i : i + 1], of_image) for i, of_image in enumerate(regions))
        features = _features(classifier, whole) if with_features else ()
    return SuperpixelAttribution(values, features)


def first_stage(classifier: Classifier, image: torch.Tensor, regions: Regions) -> Values:
    """Return the first stage's values, in 256 steps from 0 to 1: the probabilities, stretched to their range.

    Parameters
    ----------
    classifier : Classifier
    image : float tensor (1, 3, P, P)
        Normalised, on the classifier's device.
    regions : Regions
    """
    canvas = global_canvas(image, classifier.preprocessing.input_size)

    def ask(which: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = classifier.network(canvas.cut(which, centres))
        return logits

    return np.rint(255 * stretched(_probabilities(ask, image, regions.centres))).astype(np.float32) / np.float32(255)


def second_stage(classifier: Classifier, image: torch.Tensor, regions: Regions, first: Values) -> Values:
    """Return the values of both stages together: where the first is in doubt, the second's probabilities.

    Parameters
    ----------
    classifier, image, regions
        As for `first_stage`.
    first : float32 array (n,)
        What that returned.
    """
    doubtful = (first >= DOUBT[0]) & (first <= DOUBT[1])
    found = first.copy()
    if doubtful.any():
        canvas = local_canvas(image, classifier.preprocessing.input_size)
        maps = map_canvas(torch.from_numpy(first[regions.cells])[None, None].to(image.device))

        def ask(which: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
            said = maps.cut(which, centres)[:, 0]
            logits: torch.Tensor = classifier.network(canvas.cut(which, centres), said)
            return logits

        found[doubtful] = _probabilities(ask, image, regions.centres[doubtful])
    return found


def shown(values: Values) -> Values:
    """Return what is shown of a stage's values: ``exp(1.25 p)``, stretched to [0, 1]."""
    return stretched(np.exp(np.float32(SHARPNESS) * values))


def stretched(values: Values) -> Values:
    """Bring values to the range from 0 to 1; nothing of values that are all the same."""
    found: Values = min_max(values.astype(np.float64)).astype(np.float32) if len(values) else values
    return found


def _stages(classifier: Classifier, image: torch.Tensor, regions: Regions) -> Values:
    first = first_stage(classifier, image, regions)
    return np.stack([shown(first), shown(second_stage(classifier, image, regions, first))])


def _probabilities(
    ask: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], image: torch.Tensor, centres: NDArray[np.float32]
) -> Values:
    """Ask a network about the windows around centres (n, 2), in parts; return how likely each is salient."""
    on_device = torch.from_numpy(centres).to(image.device)
    count = WINDOWS_A_PASS.get(image.device.type, WINDOWS_A_PASS["cpu"])
    found = []
    start = 0
    while start < len(centres):
        part = on_device[start : start + count]
        try:
            logits = ask(torch.zeros(len(part), dtype=torch.int64, device=image.device), part)
        except torch.OutOfMemoryError:
            if count == 1:
                raise
            count //= 2
            continue
        found.append(logits.float().softmax(dim=1)[:, 1])
        start += len(part)
    return torch.cat(found).cpu().numpy() if found else np.zeros(0, np.float32)


def _features(classifier: MultiContext, whole: torch.Tensor) -> tuple[Features, ...]:
    size = classifier.preprocessing.input_size
    images = torch.nn.functional.interpolate(whole, size=(size, size), mode="bilinear", antialias=True)
    places = depths_of(classifier.of_images)
    with DepthReader(classifier.of_images.network, places).reading() as activations:
        classifier.network(images.contiguous(memory_format=torch.channels_last))
    found = []
    for position in feature_depths(places, size):
        codes, scale = packed(unit_features(activations[position], places[position]))
        found.append(Features(codes.cpu().numpy(), scale.cpu().numpy()))
    return tuple(found)
