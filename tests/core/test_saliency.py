import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import nn

import saliency_core
from saliency_core import Classifier, SaliencyParameters, SaliencyResult, load_classifier, saliency, saliency_batch
from saliency_core._given_images import ImageLike
from saliency_core._saliency import IMAGES_A_PASS
from saliency_core.errors import ArgumentError, NotFiniteError
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.guards import DecodeError
from saliency_core.imaging.resizing import resize_longest_side, resize_map, squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.gradient import input_gradient
from saliency_core.methods.registry import METHODS, MULTI_CONTEXT, STUDENT, NetworkMethod, stages_of
from saliency_core.methods.student import new_head
from saliency_core.methods.window_network import load_multi_context
from saliency_core.networks.saliency_head import Student
from saliency_core.parameters import WORKING_SIZE, ErasureParameters
from saliency_core.refining.refinement import prune_and_normalise
from saliency_core.refining.stages import chain_of_maps, describe_superpixels
from tests.support.small_networks import classifier_of, convolutional
from tests.support.window_pairs import untaught_pair

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
    attribution = erase(classifier, squash(image, 12)[None], None, PARAMETERS.erasure, PARAMETERS.views)
    superpixels = describe_superpixels(image, PARAMETERS)
    one = attribution.image(0)
    expected = chain_of_maps(one.raw, superpixels, PARAMETERS, one.evidence, one.features)
    assert list(found.maps) == ["raw", "smoothed", "refined", "objects"]
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
        found = list(saliency_batch(images, classifier, labels=labels, parameters=PARAMETERS))
    finally:
        handle.remove()
    assert sizes == [IMAGES_A_PASS] * 6 + [3] * 3  # three steps each
    assert [result.label for result in found] == labels
    for index in (0, IMAGES_A_PASS - 1, IMAGES_A_PASS, len(images) - 1):
        alone = saliency(images[index], classifier, label=labels[index], parameters=PARAMETERS)
        assert_same(found[index], alone)


def test_a_batch_asks_for_images_as_it_needs_them(classifier: Classifier) -> None:
    taken: list[int] = []

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for seed in range(6):
            taken.append(seed)
            yield picture(20, 30, seed)

    results = saliency_batch(
        pictures(), classifier, parameters=PARAMETERS, batch_size=2, labels=iter([0, 1, 2, 3, 0, 1])
    )
    assert taken == []
    first = next(results)
    assert taken == [0, 1]
    assert_same(first, saliency(picture(20, 30, 0), classifier, label=0, parameters=PARAMETERS))
    assert [result.label for result in results] == [1, 2, 3, 0, 1]


def test_a_bar_changes_nothing(classifier: Classifier, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.stack([picture(20, 30, seed) for seed in range(3)])
    plain = list(saliency_batch(images, classifier, parameters=PARAMETERS))
    for found, expected in zip(
        saliency_batch(images, classifier, parameters=PARAMETERS, progress=True), plain, strict=True
    ):
        assert_same(found, expected)
    assert "saliency" in capsys.readouterr().out


def test_images_of_different_sizes_in_one_batch(classifier: Classifier) -> None:
    images = [picture(20, 30, 1), picture(41, 17, 2), picture(1, 1, 3), picture(1, 50, 4), picture(60, 2, 5)]
    for image, found in zip(images, saliency_batch(images, classifier, parameters=PARAMETERS), strict=True):
        assert_same(found, saliency(image, classifier, parameters=PARAMETERS))
        for map_ in found.maps.values():
            assert map_.shape == image.shape[:2]
            assert np.isfinite(map_).all()


def test_arrays_pictures_of_pillow_and_paths(classifier: Classifier, tmp_path: Path) -> None:
    image = picture(20, 30)
    expected = saliency(image, classifier, parameters=PARAMETERS)
    path = tmp_path / "image.png"
    turned = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8  # shown turned left by a quarter
    Image.fromarray(image).save(path)
    Image.fromarray(np.rot90(image, -1).copy()).save(turned, exif=exif)
    given: list[ImageLike] = [
        image,
        Image.fromarray(image),
        path,
        str(path),
        Image.open(path),
        turned,
        Image.open(turned),
    ]
    for found in saliency_batch(given, classifier, parameters=PARAMETERS):
        assert_same(found, expected)
        np.testing.assert_array_equal(found.image, image)
    grey = Image.fromarray(image[:, :, 0])
    assert (saliency(grey, method="center-gaussian").image == image[:, :, :1]).all()
    seen_through = Image.fromarray(np.dstack([image, np.zeros((20, 30), np.uint8)]))
    assert (saliency(seen_through, method="center-gaussian").image == 255).all()


def test_a_large_image_gets_maps_of_its_own_size_with_one_value_a_superpixel(classifier: Classifier) -> None:
    image = picture(90, 120)
    found = saliency(image, classifier, parameters=PARAMETERS, working_size=40)
    # The network sees the image itself, superpixels its reduction.
    superpixels = describe_superpixels(resize_longest_side(image, 40), PARAMETERS)
    count = len(superpixels.low_level)
    assert found.superpixels is not None
    np.testing.assert_array_equal(found.superpixels, np.kron(superpixels.labels, np.ones((3, 3), np.int32)))
    raw = erase(classifier, squash(image, 12)[None], None, PARAMETERS.erasure).raw[0]
    resized = prune_and_normalise(resize_map(raw, 90, 120), PARAMETERS.refinement.theta)
    np.testing.assert_array_equal(found.maps["raw"], resized)
    for label in range(count):
        inside = found.superpixels == label
        assert found.maps["smoothed"][inside] == pytest.approx(resized[inside].mean(), rel=1e-4)
    for stage in ("smoothed", "refined"):
        assert 1 < len(np.unique(found.maps[stage])) <= count
    low_level = saliency(image, method="low-level", parameters=PARAMETERS, working_size=40)
    assert len(np.unique(low_level.map)) <= count
    assert low_level.map.shape == (90, 120)


def test_the_default_working_size(classifier: Classifier) -> None:
    image = np.repeat(picture(8, 100), 8, axis=1)
    found = saliency(image, classifier, parameters=PARAMETERS)
    expected = describe_superpixels(resize_longest_side(image, WORKING_SIZE), PARAMETERS)
    assert expected.labels.shape == (5, WORKING_SIZE)
    assert found.superpixels is not None
    assert found.superpixels.shape == found.map.shape == (8, 800)
    assert set(np.unique(found.superpixels)) <= set(range(len(expected.low_level)))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_works(classifier: Classifier, method: str) -> None:
    for image in (picture(40, 50), np.full((30, 20, 3), 77, np.uint8), picture(1, 1), picture(3, 90)):
        before = image.copy()
        image.flags.writeable = False
        # Methods that look at the image alone need no classifier.
        network = classifier if isinstance(METHODS[method], NetworkMethod) else None
        if method == STUDENT:
            network = Student(**vars(classifier), head=new_head(classifier))
        elif method == MULTI_CONTEXT:
            network = load_multi_context("squeezenet1_1", untaught_pair(size=32))
        found = saliency(image, network, method=method, parameters=PARAMETERS)
        assert tuple(found.maps) == stages_of(method, PARAMETERS)
        for map_ in found.maps.values():
            assert map_.shape == image.shape[:2]
            assert map_.dtype == np.float32
            assert np.isfinite(map_).all()
            assert (map_ >= 0).all()
        assert (found.label is None) == (network is None or method == MULTI_CONTEXT)
        assert (found.superpixels is None) == (network is None)
        np.testing.assert_array_equal(image, before)
        larger = list(saliency_batch([image, image], network, method=method, parameters=PARAMETERS, working_size=20))
        assert len(larger) == 2
        assert all(map_.shape == image.shape[:2] for map_ in larger[1].maps.values())


def test_the_gradient_goes_through_the_same_stages(classifier: Classifier) -> None:
    image = picture(30, 44)
    found = saliency(image, classifier, method="gradient")
    parameters = SaliencyParameters()
    one = input_gradient(classifier, squash(image, 12)[None], None, parameters.views).image(0)
    superpixels = describe_superpixels(image, parameters)
    expected = chain_of_maps(one.raw, superpixels, parameters, one.evidence, one.features)
    for stage, map_ in found.maps.items():
        np.testing.assert_array_equal(map_, expected[stage])


def test_labels(classifier: Classifier) -> None:
    images = [picture(20, 20, seed) for seed in range(3)]
    recognised = [result.label for result in saliency_batch(images, classifier)]
    found = list(saliency_batch(images, classifier, labels=np.array([3, -1, 0])))
    assert [result.label for result in found] == [3, recognised[1], 0]
    assert (found[0].label_name, found[2].label_name) == ("hen", "cat")
    assert saliency(images[0], classifier, label=2).label_name == "cow"
    assert saliency(images[0], classifier, label=-1).label == recognised[0]
    assert saliency(images[0], classifier, label=np.int64(0)).label == 0  # type: ignore[arg-type]


def test_parameters_reach_the_method(classifier: Classifier) -> None:
    image = picture(20, 30)
    more = replace(PARAMETERS, erasure=replace(PARAMETERS.erasure, iterations=8))
    one, other = (saliency(image, classifier, parameters=p) for p in (PARAMETERS, more))
    assert np.abs(one.maps["raw"] - other.maps["raw"]).max() > 1e-3
    assert one.logit_after is not None
    assert other.logit_after is not None
    assert other.logit_after < one.logit_after


def test_an_empty_batch(classifier: Classifier) -> None:
    assert list(saliency_batch([], classifier)) == []
    assert list(saliency_batch([], method="low-level", labels=[])) == []


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
    with pytest.raises(ArgumentError, match=r"^an image must be a non-empty uint8 array"):
        saliency(image, classifier)
    with pytest.raises(ArgumentError, match="image 1: an image must be a non-empty uint8 array"):
        list(saliency_batch([picture(4, 4), image], classifier))


def test_images_that_are_none(classifier: Classifier, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for given, kind, sentence in (
        (7, ArgumentError, "must be an array, one of Pillow's or the path of a file, not int"),
        (tmp_path / "missing.png", ArgumentError, "missing.png cannot be read: No such file"),
        (broken, DecodeError, "."),
    ):
        with pytest.raises(kind, match=sentence):
            saliency(given, classifier)  # type: ignore[arg-type]
        with pytest.raises(kind, match=r"^image 0: "):
            next(saliency_batch([given], classifier))  # type: ignore[list-item]


def test_numbers_that_are_not_finite(classifier: Classifier) -> None:
    far = SaliencyParameters(erasure=ErasureParameters(epsilon=1e30, gamma=1.0))
    with pytest.raises(NotFiniteError, match=r"^the saliency map of this image is not finite: take a smaller epsilon"):
        saliency(picture(20, 20), classifier, parameters=far)
    with pytest.raises(NotFiniteError, match=r"^image 0: the saliency map of this image is not finite"):
        list(saliency_batch([picture(20, 20)], classifier, parameters=far))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"method": "magic"}, "no method 'magic': choose one of clamped-erasure, gradient"),
        ({"classifier": None}, "clamped-erasure needs a classifier: make one with load_classifier"),
        ({"classifier": "vgg16"}, "made by load_classifier or Classifier.from_module, it is no str"),
        ({"parameters": ErasureParameters()}, "parameters must be SaliencyParameters, not ErasureParameters"),
        ({"label": 4}, r"label must be -1 or lie in 0\.\.3, the network's classes, not 4"),
        ({"label": -2}, r"must be -1 or lie in 0\.\.3"),
        ({"label": 1.0}, r"label must be a whole number, the number of a class, not 1\.0"),
        ({"label": "dog"}, "label must be a whole number"),
        ({"label": True}, "label must be a whole number"),
        ({"working_size": 0}, "working_size must be a whole number of pixels, 1 or more, not 0"),
        ({"working_size": 51.2}, "working_size must be a whole number of pixels"),
    ],
)
def test_wrong_calls_get_one_sentence(classifier: Classifier, given: dict[str, Any], sentence: str) -> None:
    arguments: dict[str, Any] = {"classifier": classifier} | given
    with pytest.raises(ArgumentError, match=sentence):
        saliency(picture(20, 20), **arguments)
    if "label" in arguments:
        arguments["labels"] = [arguments.pop("label")]
    with pytest.raises(ArgumentError, match=sentence):
        list(saliency_batch([picture(20, 20)], **arguments))


@pytest.mark.parametrize(
    ("images", "given", "sentence"),
    [
        ([picture(4, 4)] * 2, {"labels": [1]}, "2 images need as many labels, not 1"),
        (iter([picture(4, 4)] * 2), {"labels": [1]}, "there are only 1 labels: give as many as images"),
        (iter([picture(4, 4)]), {"labels": [1, 2]}, "there are only 1 images: give as many labels, no more"),
        ([picture(4, 4)], {"labels": 1}, "labels must be one whole number an image, not int"),
        ("image.png", {}, "images must be several images, not str"),
        (3, {}, "images must be several images, not int"),
        ([picture(4, 4)], {"batch_size": 0}, "batch_size must be a whole number, 1 or more, not 0"),
        ([picture(4, 4)], {"batch_size": 1.5}, "batch_size must be a whole number"),
    ],
)
def test_wrong_batches_get_one_sentence(
    classifier: Classifier, images: Any, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        list(saliency_batch(images, classifier, **given))


def test_settings_are_checked_before_the_first_result_is_asked_for(classifier: Classifier) -> None:
    with pytest.raises(ArgumentError, match="no method"):
        saliency_batch([], classifier, method="magic")


def test_the_package_lists_what_there_is_and_brings_it_when_asked() -> None:
    listed = dir(saliency_core)
    assert {"saliency", "saliency_batch", "Classifier", "MapScores", "place", "scoring"} <= set(listed)
    for name in listed:
        assert getattr(saliency_core, name) is not None
    code = "import sys, saliency_core; dir(saliency_core); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


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
