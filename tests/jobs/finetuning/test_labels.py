"""Which images a fine-tuning run learns from, and what is refused; no Ray."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import SettingsError
from jobs.finetuning.labels import Images, Labelled, hold_out, list_images
from jobs.finetuning.plan import make_plan
from jobs.finetuning.settings import FinetuneSettings
from jobs.planning.cluster import Cluster

TINY: dict[str, Any] = {"model": "demo.tiny_vgg:TinyVGG", "weights": "random", "output": "nowhere"}


def settings(**given: Any) -> FinetuneSettings:
    return FinetuneSettings(**(TINY | given))


def folders(root: Path, counts: dict[str, int]) -> str:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            (root / name / f"{index}.jpg").write_bytes(b"")
    return str(root)


def annotation(*objects: tuple[str, int]) -> str:
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{side}</xmax><ymax>{side}</ymax></bndbox>"
        "</object>"
        for name, side in objects
    )
    return f"<annotation>{boxes}</annotation>"


def voc(root: Path, train: dict[str, list[tuple[str, int]]], val: dict[str, list[tuple[str, int]]]) -> str:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("cat\ndog\n")
    for split, images in (("trainval", train | val), ("val", val)):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(images))
    for stem, objects in (train | val).items():
        (root / "JPEGImages" / f"{stem}.jpg").write_bytes(b"")
        (root / "Annotations" / f"{stem}.xml").write_text(annotation(*objects))
    return str(root)


def test_a_folder_for_every_class(tmp_path: Path) -> None:
    root = folders(tmp_path, {"dog": 20, "cat": 10})
    (tmp_path / "of no class.jpg").write_bytes(b"")
    images = list_images(settings(images=root, validation_share=0.2))
    assert images.class_names == ("cat", "dog")
    assert images.train.labels.count(0) == 8
    assert images.validation.labels == [0] * 2 + [1] * 4
    assert images.train.without_class == 1
    assert len(images.test) == 0
    assert all(
        ("/dog/" in uri) == (label == 1) for uri, label in zip(images.train.uris, images.train.labels, strict=True)
    )


def test_a_manifest_with_names_or_numbers(tmp_path: Path) -> None:
    def write(labels: list[Any]) -> str:
        uris = [f"{index}.jpg" for index in range(len(labels))]
        pq.write_table(pa.table({"uri": uris, "label": labels}), tmp_path / "m.parquet")
        return str(tmp_path / "m.parquet")

    named = list_images(settings(images=write(["b", "a", None, "b", "a"]), validation_share=0.5))
    assert named.class_names == ("a", "b")
    assert named.train.without_class == 1
    assert named.train.uris[0].startswith(str(tmp_path))
    numbered = list_images(settings(images=write([10, 9, 9, 10]), validation_share=0.5))
    assert numbered.class_names == ("9", "10")
    (tmp_path / "names.txt").write_text("zebra\nape\n")
    listed = list_images(settings(images=write([1, 0, 0, 1]), class_names=str(tmp_path / "names.txt")))
    assert listed.class_names == ("zebra", "ape")
    assert sorted(listed.train.labels + listed.validation.labels) == [0, 0, 1, 1]


def test_voc_trains_on_all_that_is_not_tested_and_takes_the_largest_object(tmp_path: Path) -> None:
    train = {f"t{index}": [("cat", 9), ("dog", 5 if index % 2 else 20)] for index in range(8)}
    val = {f"v{index}": [("cat", 9)] for index in range(3)}
    images = list_images(settings(dataset="voc", root=voc(tmp_path, train, val), validation_share=0.25))
    assert images.class_names == ("cat", "dog")
    assert (len(images.train), len(images.validation), len(images.test)) == (6, 2, 3)
    found = dict(
        zip(images.train.uris + images.validation.uris, images.train.labels + images.validation.labels, strict=True)
    )
    assert [found[str(tmp_path / "JPEGImages" / f"t{index}.jpg")] for index in range(4)] == [1, 0, 1, 0]
    assert {Path(uri).stem for uri in images.test.uris} == set(val)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: {"images": folders(root, {"cat": 3})}, "has 1 classes, training needs at least 2"),
        (lambda root: {"images": folders(root, {"cat": 1, "dog": 1})}, "a single image, none can be held out"),
        (lambda root: {"images": str(root / "nowhere")}, "there are no images"),
        (
            lambda root: {
                "images": folders(root, {"cat": 2, "dog": 2}),
                "class_names": listed(root, "cat", "dog", "cow"),
            },
            r"1 of 3 classes have no training image \(such as cow\)",
        ),
        (
            lambda root: {"images": folders(root, {"cat": 2, "dog": 2}), "class_names": listed(root, "cat", "cow")},
            r"1 classes of the train images are not in the list of classes \(such as 'dog'\)",
        ),
        (
            lambda root: {"images": folders(root, {"cat": 2, "dog": 2}), "class_names": listed(root, "cat", "cat")},
            "'cat' stands twice",
        ),
        (
            lambda root: {"images": folders(root, {"cat": 2, "dog": 2}), "test": str(root)},
            r"\d images are validation and test images at once",
        ),
        (
            lambda root: {"dataset": "voc", "root": voc(root, {"a": [("cat", 5)]}, {"b": [("cat", 5)]})},
            r"1 of 2 classes have no training image \(such as dog\)",
        ),
        (lambda root: {"images": text(root)}, "has no classes: give a folder for every class"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], dict[str, Any]], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        list_images(settings(**make(tmp_path)))


def listed(root: Path, *names: str) -> str:
    (root / "names.txt").write_text("\n".join(names))
    return str(root / "names.txt")


def text(root: Path) -> str:
    (root / "list.txt").write_text("a.jpg\nb.jpg\n")
    return str(root / "list.txt")


def test_held_out_images_follow_the_seed() -> None:
    images = Labelled([str(index) for index in range(40)], [index % 4 for index in range(40)])
    first, again, other = (hold_out(images, 0.3, seed)[1] for seed in (0, 0, 1))
    assert first == again != other
    assert [first.labels.count(label) for label in range(4)] == [3] * 4


def test_the_digest_depends_on_images_labels_and_parts() -> None:
    one, two = Labelled(["a"], [0]), Labelled(["b"], [1])
    nothing = Labelled([], [])
    digests = {
        Images(names, *parts).sha256
        for names in (("x", "y"), ("y", "x"))
        for parts in ((one, two, nothing), (two, one, nothing), (Labelled(["a"], [1]), two, nothing))
    }
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either --images, or --dataset"),
        ({"dataset": "voc"}, "belong together"),
        ({"images": "x", "split": "train"}, "--split belongs to a --dataset"),
        ({"dataset": "voc", "root": "x", "class_names": "y"}, "brings its own classes"),
        ({"images": "x", "repeats": 3}, "--repeats belongs to --strategy each"),
        ({"images": "x", "validation_share": 1.0}, "between 0 and 1"),
        ({"images": "x", "learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"images": "x", "batch_size": 0}, "batch_size must be 1 or more"),
        ({"images": "x", "epochs": 1}, "a warm-up of 1.0 epochs leaves nothing"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**given)


def test_more_workers_than_slots_or_gpus_are_refused_before_work(tmp_path: Path) -> None:
    given = settings(images=folders(tmp_path, {"a": 4, "b": 4}), workers=4, batch_size=4)
    with pytest.raises(
        SettingsError, match=r"needs 6 CPU slots \(4 workers of 1 and 2 for tasks\) but 4 are available"
    ):
        make_plan(given, Cluster(None, 4, 0))
    with pytest.raises(SettingsError, match="4 workers need a GPU each, but there are 2"):
        make_plan(given, Cluster(None, 16, 2))
    plan = make_plan(given, Cluster("ray://x", 6, 0))
    assert (plan.workers, plan.cpus_per_worker, plan.batch_size_per_worker, plan.steps_per_epoch) == (4, 1, 1, 2)


def test_one_worker_a_gpu(tmp_path: Path) -> None:
    given = settings(images=folders(tmp_path, {"a": 40, "b": 40}))
    plan = make_plan(given, Cluster("ray://x", 32, 8))
    assert (plan.workers, plan.cpus_per_worker, plan.batch_size_per_worker) == (8, 1, 4)


def test_credentials_stay_out_of_the_record() -> None:
    given = settings(images="https://me:secret@host/a/m.parquet", weights="https://me:secret@host/w.safetensors")
    assert "secret" not in json.dumps(given.recorded())
    assert "secret" not in given.source
