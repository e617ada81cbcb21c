from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from saliency_core import Classifier, SaliencyParameters, SaliencyResult, load_classifier, saliency
from saliency_core._saliency import IMAGES_A_PASS
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.resizing import resize_longest_side, resize_map, squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.gradient import input_gradient
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.parameters import WORKING_SIZE, ErasureParameters
from saliency_core.refining.stages import chain_of_maps, describe_superpixels
from tests.support.small_networks import classifier_of, convolutional

PARAMETERS = SaliencyParameters(erasure=ErasureParameters(epsilon=0.05, gamma=0.01, iterations=3))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    # No maximum pooling: on an image of one colour, such as 1x1, all its values tie.
    small = classifier_of(convolutional(0, classes=4, pooling=nn.AvgPool2d))
    return replace(small, class_names=("cat", "dog", "cow", "hen"))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_same(found: SaliencyResult, expected: SaliencyResult) -> None:
    assert list(found.maps) == list(expected.maps)
    for stage, map_ in found.maps.items():
        np.testing.assert_allclose(map_, expected.maps[stage], atol=1e-5)
    assert (found.label, found.label_name) == (expected.label, expected.label_name)
    for name in ("probability", "logit_before", "logit_after", "drift"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-5)


def test_one_image_step_by_step(classifier: Classifier) -> None:
    image = picture(30, 44)
    found = saliency(image, classifier, parameters=PARAMETERS)
    attribution = erase(classifier, squash(image, 12)[None], None, PARAMETERS.erasure)
    superpixels = describe_superpixels(image, PARAMETERS)
    expected = chain_of_maps(attribution.raw[0], superpixels, PARAMETERS)
    assert list(found.maps) == ["raw", "smoothed", "refined"]
    for stage, map_ in found.maps.items():
        assert map_.shape == (30, 44)
        assert map_.dtype == np.float32
        assert map_.any()
        np.testing.assert_array_equal(map_, expected[stage])
    assert found.label == attribution.label[0]
    assert found.label_name == ("cat", "dog", "cow", "hen")[attribution.label[0]]
    assert found.probability == pytest.approx(attribution.probability[0])
    assert found.logit_before == pytest.approx(attribution.logit_before[0])
    assert found.logit_after == pytest.approx(attribution.logit_after[0])
    assert found.drift == pytest.approx(attribution.drift[0])
    assert found.superpixels is not None
    np.testing.assert_array_equal(found.superpixels, superpixels.labels)
    assert type(found.label) is int
    assert type(found.probability) is float


def test_a_long_list_goes_in_passes_and_keeps_its_order(classifier: Classifier) -> None:
    images = [picture(20, 30, seed) for seed in range(2 * IMAGES_A_PASS + 3)]
    labels = [index % 4 for index in range(len(images))]
    sizes: list[int] = []
    handle = classifier.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    try:
        found = saliency(images, classifier, labels=labels, parameters=PARAMETERS)
    finally:
        handle.remove()
    assert sizes == [IMAGES_A_PASS] * 6 + [3] * 3  # three steps each
    assert [result.label for result in found] == labels
    for index in (0, IMAGES_A_PASS - 1, IMAGES_A_PASS, len(images) - 1):
        alone = saliency(images[index], classifier, labels=labels[index], parameters=PARAMETERS)
        assert_same(found[index], alone)


def test_one_image_a_list_and_a_stack_agree(classifier: Classifier) -> None:
    images = [picture(20, 30, seed) for seed in range(3)]
    alone = [saliency(image, classifier, parameters=PARAMETERS) for image in images]
    listed = saliency(images, classifier, parameters=PARAMETERS)
    stacked = saliency(np.stack(images), classifier, parameters=PARAMETERS)
    tuple_ = saliency(tuple(images), classifier, parameters=PARAMETERS)
    assert isinstance(alone[0], SaliencyResult)
    assert isinstance(listed, list)
    assert isinstance(stacked, list)
    for results in (listed, stacked, tuple_):
        assert len(results) == 3
        for found, expected in zip(results, alone, strict=True):
            assert_same(found, expected)
    assert np.abs(alone[0].maps["raw"] - alone[1].maps["raw"]).max() > 0.01


def test_images_of_different_sizes_in_one_batch(classifier: Classifier) -> None:
    images = [picture(20, 30, 1), picture(41, 17, 2), picture(1, 1, 3), picture(1, 50, 4), picture(60, 2, 5)]
    for image, found in zip(images, saliency(images, classifier, parameters=PARAMETERS), strict=True):
        assert_same(found, saliency(image, classifier, parameters=PARAMETERS))
        for map_ in found.maps.values():
            assert map_.shape == image.shape[:2]
            assert np.isfinite(map_).all()


def test_a_large_image_gets_maps_of_its_own_size(classifier: Classifier) -> None:
    image = picture(90, 120)
    found = saliency(image, classifier, parameters=PARAMETERS, working_size=40)
    assert found.superpixels is not None
    assert found.superpixels.shape == (30, 40)
    # The network sees the image itself, superpixels and maps its reduction.
    raw = erase(classifier, squash(image, 12)[None], None, PARAMETERS.erasure).raw[0]
    superpixels = describe_superpixels(resize_longest_side(image, 40), PARAMETERS)
    for stage, map_ in chain_of_maps(raw, superpixels, PARAMETERS).items():
        np.testing.assert_array_equal(found.maps[stage], resize_map(map_, 90, 120))


def test_the_default_working_size(classifier: Classifier) -> None:
    image = np.repeat(picture(8, 100), 8, axis=1)
    found = saliency(image, classifier, parameters=PARAMETERS)
    assert found.superpixels is not None
    assert found.superpixels.shape == (5, WORKING_SIZE)
    assert found.maps["refined"].shape == (8, 800)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_works(classifier: Classifier, method: str) -> None:
    for image in (picture(40, 50), np.full((30, 20, 3), 77, np.uint8), picture(1, 1), picture(3, 90)):
        before = image.copy()
        image.flags.writeable = False
        # Methods that look at the image alone need no classifier.
        network = classifier if isinstance(METHODS[method], NetworkMethod) else None
        found = saliency(image, network, method=method, parameters=PARAMETERS)
        assert tuple(found.maps) == METHODS[method].stages
        for map_ in found.maps.values():
            assert map_.shape == image.shape[:2]
            assert map_.dtype == np.float32
            assert np.isfinite(map_).all()
            assert (map_ >= 0).all()
        assert (found.label is None) == (network is None)
        assert (found.superpixels is None) == (network is None)
        np.testing.assert_array_equal(image, before)
        larger = saliency([image, image], network, method=method, parameters=PARAMETERS, working_size=20)
        assert len(larger) == 2
        assert all(map_.shape == image.shape[:2] for map_ in larger[1].maps.values())


def test_the_gradient_goes_through_the_same_stages(classifier: Classifier) -> None:
    image = picture(30, 44)
    found = saliency(image, classifier, method="gradient")
    raw = input_gradient(classifier, squash(image, 12)[None]).raw[0]
    parameters = SaliencyParameters()
    expected = chain_of_maps(raw, describe_superpixels(image, parameters), parameters)
    for stage, map_ in found.maps.items():
        np.testing.assert_array_equal(map_, expected[stage])


def test_labels(classifier: Classifier) -> None:
    images = [picture(20, 20, seed) for seed in range(3)]
    recognised = [result.label for result in saliency(images, classifier)]
    found = saliency(images, classifier, labels=[3, -1, 0])
    assert [result.label for result in found] == [3, recognised[1], 0]
    assert (found[0].label_name, found[2].label_name) == ("hen", "cat")
    assert saliency(images[0], classifier, labels=2).label_name == "cow"
    assert saliency(images[0], classifier, labels=-1).label == recognised[0]
    assert saliency(images[0], classifier, labels=0).label == 0


def test_parameters_reach_the_method(classifier: Classifier) -> None:
    image = picture(20, 30)
    more = replace(PARAMETERS, erasure=replace(PARAMETERS.erasure, iterations=8))
    one, other = (saliency(image, classifier, parameters=p) for p in (PARAMETERS, more))
    assert np.abs(one.maps["raw"] - other.maps["raw"]).max() > 1e-3
    assert one.logit_after is not None
    assert other.logit_after is not None
    assert other.logit_after < one.logit_after


def test_an_empty_batch(classifier: Classifier) -> None:
    assert saliency([], classifier) == []
    assert saliency([], method="low-level") == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 1), np.uint8),
        np.zeros((20, 20, 3), np.float32),
        np.zeros((0, 20, 3), np.uint8),
        np.zeros((20, 0, 3), np.uint8),
    ],
)
def test_wrong_images(classifier: Classifier, image: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="image must be a non-empty uint8 array"):
        saliency(image, classifier)
    with pytest.raises(ValueError, match="image must be a non-empty uint8 array"):
        saliency([picture(4, 4), image], classifier)


def test_wrong_calls(classifier: Classifier) -> None:
    image = picture(20, 20)
    with pytest.raises(ValueError, match=r"no method 'magic': choose one of clamped-erasure, gradient"):
        saliency(image, classifier, method="magic")
    with pytest.raises(ValueError, match="needs a classifier"):
        saliency(image)
    with pytest.raises(ValueError, match="labels"):
        saliency(image, classifier, labels=4)
    with pytest.raises(ValueError, match="labels"):
        saliency([image, image], classifier, labels=[1])
    with pytest.raises(ValueError, match="labels"):
        saliency(image, classifier, labels=[1, 2])  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="longest_side"):
        saliency(image, classifier, working_size=0)


@pytest.mark.real_data
def test_the_refined_map_finds_the_animal(real_data: Path) -> None:
    network = load_classifier("squeezenet1_1", real_data / "weights/squeezenet1_1.safetensors")
    image = decode_image((real_data / "ecssd/images/0049.jpg").read_bytes()).pixels
    mask = decode_image((real_data / "ecssd/ground_truth_mask/0049.png").read_bytes()).pixels[:, :, 0] > 127
    found = saliency(image, network)
    assert found.label_name == "chow"
    assert found.logit_before is not None
    assert found.logit_after is not None
    assert found.logit_after < found.logit_before
    shares = {stage: map_[mask].sum() / map_.sum() for stage, map_ in found.maps.items()}
    assert shares["refined"] > 0.8
    assert shares["refined"] > shares["smoothed"] > mask.mean()
