"""Multi-context saliency against its definition window by window, in every form in which its networks run."""

import numpy as np
import pytest
import torch

from demo.drawing import draw_indexed_scene
from saliency_core import load_classifier, place, saliency, saliency_batch
from saliency_core.errors import ArgumentError, ClassifierError, NotFiniteError
from saliency_core.imaging.resizing import squash
from saliency_core.methods.multi_context import multi_context
from saliency_core.methods.window_network import (
    ContextNetworks,
    MultiContext,
    is_multi_context,
    load_multi_context,
)
from saliency_core.methods.windows import global_canvas, image_side, local_canvas, map_canvas
from saliency_core.networks.weights import Weights, read_weights
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit
from saliency_core.superpixels.regions import Regions
from saliency_core.superpixels.statistics import slic_superpixels
from tests.support.window_pairs import TAUGHT, TAUGHT_NETWORK, untaught_pair

SIZE = 64
SIDE = image_side(SIZE)


@pytest.fixture(scope="module")
def classifier() -> MultiContext:
    return load_multi_context("squeezenet1_1", untaught_pair(size=SIZE))


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    images = []
    for height, width in ((60, 90), (80, 50)):
        image = generator.integers(0, 40, (height, width, 3), dtype=np.uint8)
        image[20:45, 15:40] += np.array([150, 30, 0], np.uint8)
        images.append(image)
    return images


@pytest.fixture(scope="module")
def regions(photographs: list[np.ndarray]) -> list[Regions]:
    return [Regions.of(slic_superpixels(image, 30, compactness=60)) for image in photographs]


@pytest.fixture(scope="module")
def images(photographs: list[np.ndarray]) -> np.ndarray:
    return np.stack([squash(image, SIDE) for image in photographs])


def stretch(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min())


def by_definition(classifier: MultiContext, image: np.ndarray, regions: Regions) -> np.ndarray:
    """Both stages of one image, one window a pass."""
    mean, std = (np.array(values) for values in (classifier.preprocessing.mean, classifier.preprocessing.std))
    pixels = torch.from_numpy(((image / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    which = torch.tensor([0])
    network = classifier.network
    assert isinstance(network, ContextNetworks)

    def salient(logits: torch.Tensor) -> float:
        values = logits[0].double().exp()
        return float(values[1] / values.sum())

    with torch.no_grad():
        centres = [torch.from_numpy(centre)[None] for centre in regions.centres]
        first = [salient(network.first(global_canvas(pixels, SIZE).cut(which, centre))) for centre in centres]
        levels = np.rint(255 * stretch(np.array(first))) / 255
        map_ = torch.from_numpy(levels[regions.cells].astype(np.float32))[None, None]
        both = []
        for level, centre in zip(levels, centres, strict=True):
            if level < 0.2 or level > 0.8:
                both.append(level)
                continue
            window = local_canvas(pixels, SIZE).cut(which, centre)
            both.append(salient(network.second(window, map_canvas(map_).cut(which, centre)[:, 0])))
    return np.stack([stretch(np.exp(1.25 * values)) for values in (levels, np.array(both))])


def test_the_maps_are_those_of_the_definition(
    classifier: MultiContext, images: np.ndarray, regions: list[Regions]
) -> None:
    found = multi_context(classifier, images, regions)
    for values, image, of_image in zip(found.values, images, regions, strict=True):
        assert values.shape == (2, len(of_image.centres))
        expected = by_definition(classifier, image, of_image)
        # A rounding to 8 bits may fall to the other side.
        np.testing.assert_allclose(values, expected, atol=0.01)
        assert (values[0] != values[1]).any()
    assert found.features == ()


def test_what_is_run_and_kept_ends_where_the_network_is_read(classifier: MultiContext) -> None:
    network = classifier.network
    assert isinstance(network, ContextNetworks)
    assert network.first.unused == {"trunk.classifier.1.weight", "trunk.classifier.1.bias"}
    assert not any("classifier.1" in key for key in network.used())
    calls = []
    network.first.trunk.get_submodule("classifier.1").register_forward_hook(lambda *_: calls.append(1))
    network.first(torch.zeros(1, 3, SIZE, SIZE))
    assert not calls


def test_an_image_has_the_same_maps_wherever_and_in_whatever_company(
    classifier: MultiContext, images: np.ndarray, regions: list[Regions]
) -> None:
    both = multi_context(classifier, images, regions)
    alone = multi_context(classifier, images, [Regions.none(), regions[1]])
    assert alone.values[0].shape == (2, 0)
    np.testing.assert_array_equal(alone.values[1], both.values[1])
    placed = multi_context(place(classifier, "cpu"), images, regions)
    for values, expected in zip(placed.values, both.values, strict=True):
        np.testing.assert_allclose(values, expected, atol=0.01)
    low = multi_context(place(classifier, "cpu", "bfloat16"), images, regions)
    difference = [np.abs(a[0] - b[0]) for a, b in zip(low.values, both.values, strict=True)]
    assert 0 < max(part.max() for part in difference) < 0.3
    assert max(part.mean() for part in difference) < 0.05


def test_vgg_is_read_right_where_its_layers_have_been_swapped(photographs: list[np.ndarray]) -> None:
    classifier = load_multi_context(TAUGHT_NETWORK, read_weights(TAUGHT))
    image = squash(photographs[0], image_side(classifier.preprocessing.input_size))[None]
    regions = [Regions.of(slic_superpixels(photographs[0], 30, compactness=60))]
    plain = multi_context(classifier, image, regions)
    placed = multi_context(place(classifier, "cpu"), image, regions)
    np.testing.assert_allclose(placed.values[0], plain.values[0], atol=0.01)


def test_a_taught_pair_sees_objects_in_scenes_that_taught_nothing_and_each_stage_more_than_the_one_before() -> None:
    classifier = place(load_multi_context(TAUGHT_NETWORK, read_weights(TAUGHT)), "cpu")
    scenes = [draw_indexed_scene(index, 6) for index in range(12)]
    sums = {name: DataSetScores() for name in ("nothing", "global", "multi_context", "objects")}
    results = saliency_batch([scene.image for scene in scenes], classifier, method="multi-context")
    for scene, result in zip(scenes, results, strict=True):
        for name, map_ in {"nothing": np.ones(scene.mask.shape, np.float32), **result.maps}.items():
            inside, outside = map_histograms(to_8bit(map_), scene.mask, np.ones_like(scene.mask))
            sums[name].add(inside[None], outside[None])
    nothing, first, both, objects = (own.figures().f_beta_of_mean_curve for own in sums.values())
    assert nothing < 0.3
    assert nothing + 0.25 < first < both - 0.02
    assert both < objects


def test_features_are_read_on_the_whole_image(
    classifier: MultiContext, images: np.ndarray, regions: list[Regions]
) -> None:
    found = multi_context(classifier, images, regions, with_features=True)
    # Of the network, and never of a head, whose layers see the middle of a window alone.
    assert [part.codes.shape[:3] for part in found.features] == [(2, 7, 7), (2, 3, 3)]
    assert found.image(1).features[0].codes.ndim == 3
    assert found[1:].image(0).raw is found.values[1]


def test_the_call_for_notebooks_gives_both_maps_and_the_graph_behind_them(
    classifier: MultiContext, photographs: list[np.ndarray]
) -> None:
    result = saliency(photographs[0], classifier, method="multi-context")
    assert list(result.maps) == ["global", "multi_context", "objects"]
    assert (result.label, result.label_name, result.probability) == (None, None, None)
    assert result.superpixels is not None
    for name in ("global", "multi_context"):
        map_ = result.maps[name]
        assert (map_.min(), map_.max()) == (0, 1)
        for label in range(result.superpixels.max() + 1):
            assert np.ptp(map_[result.superpixels == label]) == 0
    assert "multi_context" in repr(result)
    large = np.repeat(np.repeat(photographs[0], 2, axis=0), 2, axis=1)
    reduced = saliency(large, classifier, method="multi-context", working_size=90)
    assert reduced.maps["multi_context"].shape == reduced.maps["objects"].shape == large.shape[:2]


def test_networks_that_were_not_taught_so_and_wrong_images_are_refused(
    classifier: MultiContext, images: np.ndarray, regions: list[Regions]
) -> None:
    other = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=SIZE)
    with pytest.raises(ArgumentError, match=r"taught to tell salient windows: see jobs\.train_multi_context"):
        multi_context(other, images, regions)
    with pytest.raises(ArgumentError, match="2 images need as many regions, not 1"):
        multi_context(classifier, images, regions[:1])
    with pytest.raises(ArgumentError, match=f"squashed to {SIDE} x {SIDE}"):
        multi_context(classifier, images[:, :50, :50], regions)
    assert not is_multi_context({})
    weights = untaught_pair(size=SIZE)
    assert is_multi_context(weights.metadata)
    with pytest.raises(ClassifierError, match="not taught to tell salient windows"):
        load_multi_context("squeezenet1_1", Weights(weights.tensors, {}))
    with pytest.raises(ClassifierError, match="cannot be read"):
        load_multi_context("squeezenet1_0", weights)
    part = {key: value for key, value in weights.tensors.items() if key != "second.head.classes.bias"}
    with pytest.raises(ClassifierError, match=r"second\.head\.classes\.bias is missing"):
        load_multi_context("squeezenet1_1", Weights(part, weights.metadata))


def test_numbers_that_are_none_cost_their_image_alone(
    classifier: MultiContext, images: np.ndarray, regions: list[Regions]
) -> None:
    found = multi_context(classifier, images, regions)
    found.values[0][0, 3] = np.nan
    with pytest.raises(NotFiniteError):
        found.image(0)
    assert found.image(1).label is None
