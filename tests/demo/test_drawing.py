import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

import demo
from demo.drawing import (
    CLASS_NAMES,
    IMAGE_SIZES,
    Scene,
    draw_indexed_scene,
    draw_scene,
    write_data_set,
)
from demo.tiny_vgg import INPUT_SIZE, MEAN, STD
from demo.train import HELD_OUT_SEED, arguments, train, write_scenes
from jobs.console.command_line import parse_settings
from jobs.finetuning.plan import make_plan
from jobs.finetuning.settings import FinetuneSettings
from jobs.planning.cluster import Cluster
from saliency_core.imaging.resizing import squash
from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.parameters import SaliencyParameters
from saliency_core.refining.stages import chain_of_maps, describe_superpixels
from saliency_core.scoring.data_set import DataSetScores
from saliency_core.scoring.histograms import map_histograms, to_8bit

WEIGHTS = Path(demo.__file__).with_name("classifier.safetensors")
FRESH_SEED = 20_000_003


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_indexed_scene(index, FRESH_SEED) for index in range(64)]


@pytest.fixture(scope="module")
def bundled() -> Classifier:
    return load_classifier("demo.tiny_vgg:TinyVGG", WEIGHTS)


def test_equal_seeds_draw_equal_scenes() -> None:
    first, second = draw_indexed_scene(3, seed=8), draw_indexed_scene(3, seed=8)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)


@pytest.mark.parametrize(("index", "seed"), [(11, 8), (3, 9)])
def test_another_index_or_seed_draws_another_scene(index: int, seed: int) -> None:
    first, second = draw_indexed_scene(3, seed=8), draw_indexed_scene(index, seed=seed)
    assert first.image.shape != second.image.shape or (first.image != second.image).mean() > 0.5


def test_scenes_are_images_with_masks_of_bounded_area(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.dtype == np.uint8
        assert scene.mask.dtype == np.bool_
        assert scene.image.shape == (*scene.mask.shape, 3)
        assert scene.mask.shape in IMAGE_SIZES
        assert 0.02 < scene.mask.mean() < 0.35


def test_size_and_place_vary(scenes: list[Scene]) -> None:
    areas = [scene.mask.mean() for scene in scenes]
    centroids = np.array([np.argwhere(scene.mask).mean(axis=0) / scene.mask.shape for scene in scenes])
    assert max(areas) > 2 * min(areas)
    assert (centroids.std(axis=0) > 0.1).all()


def test_classes_take_turns_and_all_appear(scenes: list[Scene]) -> None:
    assert [scene.class_index for scene in scenes[: len(CLASS_NAMES)]] == list(range(len(CLASS_NAMES)))


def test_class_changes_the_picture() -> None:
    count = len(CLASS_NAMES)
    images = [draw_scene(index, np.random.default_rng(4), (120, 160)).image for index in range(count)]
    assert len({image.tobytes() for image in images}) == count


@pytest.mark.parametrize("class_index", [-1, len(CLASS_NAMES)])
def test_unknown_class_is_refused(class_index: int) -> None:
    with pytest.raises(ValueError, match="class_index"):
        draw_scene(class_index, np.random.default_rng(0))


def test_neither_shape_nor_texture_alone_is_the_class() -> None:
    textures, shapes = zip(*(name.split() for name in CLASS_NAMES), strict=True)
    assert all(shapes.count(shape) == 2 for shape in shapes)
    assert all(textures.count(texture) == 2 for texture in textures)


def test_objects_have_an_edge_but_no_colour_of_their_own() -> None:
    """Neighbours in mean Lab colour do not tell an object from background of the same outline."""
    means: list[npt.NDArray[np.float64]] = []
    for index in range(120):
        scene = draw_indexed_scene(index, FRESH_SEED)
        height, width = scene.mask.shape
        elsewhere = np.roll(scene.mask, (height // 2, width // 2), axis=(0, 1)) & ~scene.mask
        means += [scene.image[scene.mask].mean(axis=0), scene.image[elsewhere].mean(axis=0)]
    colours = rgb2lab(np.array(means) / 255)
    is_object = np.arange(len(colours)) % 2 == 0
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    contrasts = distances[np.flatnonzero(is_object), np.flatnonzero(~is_object)]
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :15]
    guessed = is_object[nearest].mean(axis=1) > 0.5
    assert (guessed == is_object).mean() < 0.75
    assert np.median(contrasts) > 15


def test_data_set_on_disk_matches_the_drawing(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path / "set", count=3, seed=5)
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["0", "1", "2"]
    for index, row in enumerate(rows):
        scene = draw_indexed_scene(index, seed=5)
        with Image.open(row["uri"]) as image, Image.open(row["mask_uri"]) as mask:
            drawn = Image.fromarray(scene.image)
            loss = np.asarray(image.reduce(8), float) - np.asarray(drawn.reduce(8), float)
            assert np.abs(loss).mean() < 2
            np.testing.assert_array_equal(np.asarray(mask.convert("L")), scene.mask * np.uint8(255))


def test_the_fine_tuning_job_takes_the_scenes_and_the_settings_that_the_network_is_trained_with(
    tmp_path: Path,
) -> None:
    write_scenes(tmp_path / "train", 24, seed=1)
    write_scenes(tmp_path / "test", 8, seed=HELD_OUT_SEED)
    (tmp_path / "classes.txt").write_text("\n".join(CLASS_NAMES))
    with Image.open(next((tmp_path / "train" / CLASS_NAMES[3]).iterdir())) as image:
        assert image.size == (INPUT_SIZE, INPUT_SIZE)
    settings, _ = parse_settings(FinetuneSettings, arguments(tmp_path, tmp_path / "run", epochs=10, seed=0))
    plan = make_plan(settings, Cluster(None, 4, 0))
    assert plan.classifier.class_names == CLASS_NAMES
    assert plan.classifier.preprocessing == Preprocessing(INPUT_SIZE, MEAN, STD)
    assert (len(plan.images.train), len(plan.images.validation), len(plan.images.test)) == (16, 8, 8)


def test_training_on_the_held_out_scenes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="held-out"):
        train(output=tmp_path / "classifier.safetensors", seed=HELD_OUT_SEED)


def test_bundled_weights_are_small_and_name_the_classes(bundled: Classifier) -> None:
    assert WEIGHTS.stat().st_size <= 2_000_000
    assert bundled.class_names == CLASS_NAMES
    assert WEIGHTS.with_name("classes.txt").read_text(encoding="utf-8").splitlines() == list(CLASS_NAMES)


def test_bundled_weights_recognise_fresh_scenes(bundled: Classifier, scenes: list[Scene]) -> None:
    inputs = np.stack([squash(scene.image, INPUT_SIZE) for scene in scenes])
    batch = (inputs / 255 - np.array(MEAN)) / np.array(STD)
    logits = bundled.network(torch.from_numpy(batch).float().permute(0, 3, 1, 2))
    truth = np.array([scene.class_index for scene in scenes])
    assert (logits.argmax(1).numpy() == truth).mean() > 0.85


@pytest.mark.slow
def test_every_stage_of_the_method_improves_on_the_one_before(bundled: Classifier, scenes: list[Scene]) -> None:
    """Headline score on fresh scenes: raw < smoothed < refined, and colour contrast alone is well below."""
    parameters = SaliencyParameters()
    inputs = np.stack([squash(scene.image, INPUT_SIZE) for scene in scenes])
    raw_maps = erase(bundled, inputs, parameters=parameters.erasure).raw
    totals = {stage: DataSetScores() for stage in ("low-level", "raw", "smoothed", "refined")}
    for scene, raw in zip(scenes, raw_maps, strict=True):
        superpixels = describe_superpixels(scene.image, parameters)
        maps = dict(chain_of_maps(raw, superpixels, parameters))
        maps["low-level"] = superpixels.low_level[superpixels.labels]
        for stage, total in totals.items():
            inside, outside = map_histograms(to_8bit(maps[stage]), scene.mask)
            total.add(inside[None], outside[None])
    score = {stage: total.figures().f_beta_of_mean_curve for stage, total in totals.items()}
    assert score["raw"] + 0.05 < score["smoothed"]
    assert score["smoothed"] + 0.02 < score["refined"]
    assert score["low-level"] + 0.08 < score["refined"]
