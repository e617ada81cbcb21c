"""Arguments that cannot be used get one sentence, and never the words of a library below."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from saliency_core.colour.lab import lab_planes
from saliency_core.errors import ArgumentError, SaliencyError
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.histogram_contrast import histogram_contrast
from saliency_core.methods.low_level import low_level_saliency
from saliency_core.methods.region_contrast import region_contrast
from saliency_core.refining.refinement import prune_and_normalise, refine, smooth
from saliency_core.segmentation.saliency_cut import saliency_cut
from saliency_core.superpixels.statistics import slic_superpixels, superpixel_centroids, superpixel_means
from tests.support.small_networks import classifier_of, convolutional, random_images

IMAGE = np.zeros((30, 40, 3), np.uint8)
LABELS = np.zeros((30, 40), np.int32)
MAP = np.zeros((30, 40), np.float32)
NOT_RGB = [IMAGE.astype(np.float32), np.zeros((30, 40, 4), np.uint8), IMAGE[:, :, 0], IMAGE[:0]]
NO_LABELS = [LABELS.astype(float), LABELS[0], LABELS[:0], LABELS > 0]


@pytest.mark.parametrize("image", NOT_RGB)
@pytest.mark.parametrize(
    "function",
    [
        slic_superpixels,
        lab_planes,
        region_contrast,
        histogram_contrast,
        lambda image: low_level_saliency(image, np.zeros(image.shape[:2], np.int32)),
        lambda image: saliency_cut(image, np.zeros(image.shape[:2])),
    ],
)
def test_images(function: Callable[[Any], Any], image: Any) -> None:
    with pytest.raises(ArgumentError, match=r"uint8 array \(H, W, 3\)|label map must be a non-empty"):
        function(image)


@pytest.mark.parametrize("labels", NO_LABELS)
@pytest.mark.parametrize(
    "function",
    [
        lambda labels: superpixel_means(np.zeros(labels.shape), labels),
        lambda labels: smooth(np.zeros(labels.shape), labels),
        lambda labels: low_level_saliency(IMAGE, labels),
        lambda labels: refine(MAP, np.zeros(1, np.float32), labels),
        superpixel_centroids,
    ],
)
def test_label_maps(function: Callable[[Any], Any], labels: Any) -> None:
    with pytest.raises(ArgumentError, match="a label map must be a non-empty array"):
        function(labels)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: slic_superpixels(IMAGE, segments=0), "segments must be 1 or more, not 0"),
        (lambda: slic_superpixels(IMAGE, segments=2.5), "segments must be a whole number, not 2.5"),  # type: ignore
        (lambda: slic_superpixels(IMAGE, compactness=-1), "compactness must be finite and above 0"),
        (lambda: slic_superpixels(IMAGE, code="opencv"), "slic must be one of compiled, scikit-image"),  # type: ignore
        (lambda: superpixel_means(MAP, LABELS[:5]), r"label map has the shape \(5, 40\), .* has \(30, 40\)"),
        (lambda: superpixel_means(MAP, LABELS - 1), "labels must be 0 or more, not -1"),
        (lambda: low_level_saliency(IMAGE, LABELS[:5]), "label map has the shape"),
        (lambda: refine(MAP, np.zeros(2, np.float32), LABELS), "1 superpixels need as many low-level values"),
        (lambda: prune_and_normalise(np.full((3, 4), np.nan), 0.1), "holds NaN or infinite values"),
        (lambda: prune_and_normalise(np.zeros((0, 4)), 0.1), "a saliency map must be a non-empty array"),
        (lambda: saliency_cut(IMAGE, np.full((30, 40), np.inf)), "holds NaN or infinite values"),
        (lambda: saliency_cut(IMAGE, MAP[:5]), r"the map has shape \(5, 40\)"),
        (lambda: erase(classifier_of(convolutional(0)), random_images(0, 1, 13)), "input size, 12 x 12, not"),
    ],
)
def test_other_arguments(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(SaliencyError, match=sentence):
        call()
