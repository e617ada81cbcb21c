"""Which images a fine-tuning run learns from, and what is refused; no Ray."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.errors import SettingsError
from jobs.finetuning.labels import Images, Labelled, hold_out, list_images
from jobs.finetuning.plan import make_plan
from jobs.finetuning.settings import FinetuneSettings
from jobs.planning.cluster import Cluster
from jobs.training.loading import decoder
from tests.support.archives import image_table, tar_bytes, write_parquet

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
    assert images.train.labels.tolist().count(0) == 8
    assert images.validation.labels.tolist() == [0] * 2 + [1] * 4
    assert images.train.without_class == 1
    assert len(images.test) == 0
    assert all(
        ("/dog/" in uri.as_py()) == (label == 1)
        for uri, label in zip(images.train.uris, images.train.labels, strict=True)
    )


def test_a_manifest_with_names_or_numbers(tmp_path: Path) -> None:
    def write(labels: list[Any]) -> str:
        uris = [f"{index}.jpg" for index in range(len(labels))]
        pq.write_table(pa.table({"uri": uris, "label": labels}), tmp_path / "m.parquet")
        return str(tmp_path / "m.parquet")

    named = list_images(settings(images=write(["b", "a", None, "b", "a"]), validation_share=0.5))
    assert named.class_names == ("a", "b")
    assert named.train.without_class == 1
    assert named.train.uris[0].as_py().startswith(str(tmp_path))
    numbered = list_images(settings(images=write([10, 9, 9, 10]), validation_share=0.5))
    assert numbered.class_names == ("9", "10")
    (tmp_path / "names.txt").write_text("zebra\nape\n")
    listed = list_images(settings(images=write([1, 0, 0, 1]), class_names=str(tmp_path / "names.txt")))
    assert listed.class_names == ("zebra", "ape")
    assert sorted([*listed.train.labels, *listed.validation.labels]) == [0, 0, 1, 1]


def test_archives_have_the_classes_of_their_folders_rows_and_manifests(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (9, 9), (255, 0, 0)).save(picture, "PNG")
    members = {f"{name}/{index}.jpg": picture.getvalue() for name in ("cat", "dog") for index in range(4)}
    (tmp_path / "within.tar").write_bytes(tar_bytes(members | {"cat/0.mask.png": b"", "no class.jpg": b""}))
    within = list_images(settings(images=str(tmp_path / "within.tar"), validation_share=0.25))
    assert within.class_names == ("cat", "dog")
    assert within.train.without_class == 1
    read = decoder(4, 10**6, None)({"uri": np.array(within.train.uris.to_pylist(), object)})
    assert read["counts"].all()
    assert (read["image"] == (255, 0, 0)).all()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        flat = {f"{index}.jpg": b"" for index in range(4)}
        (tmp_path / "set" / name / "00.tar").write_bytes(tar_bytes(flat))
    around = list_images(settings(images=str(tmp_path / "set"), validation_share=0.25))
    for images in (within, around):
        for uri, label in zip(images.train.uris, images.train.labels, strict=True):
            assert images.class_names[label] in uri.as_py()
        assert (len(images.train), len(images.validation)) == (6, 2)

    table = image_table([b"1", b"2", b"3", b"4", b"5"]).drop_columns(["label"])
    table = table.append_column("label", pa.array([1, 0, 1, 0, -1]))
    features = {"info": {"features": {"label": {"names": ["ape", "zebra"], "_type": "ClassLabel"}}}}
    named = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    rows = list_images(settings(images=str(write_parquet(named, tmp_path / "named.parquet", 2))))
    assert rows.class_names == ("ape", "zebra")
    assert (rows.train.without_class, len(rows.train), len(rows.validation)) == (1, 2, 2)
    found = dict(zip(rows.train.uris.to_pylist(), rows.train.labels, strict=True))
    assert all(label == 1 - int(uri[-1]) % 2 for uri, label in found.items())

    uris = [f"within.tar#{name}" for name in members]
    pq.write_table(pa.table({"uri": uris, "label": ["x", "y"] * 4}), tmp_path / "manifest.parquet")
    named_by_rows = list_images(settings(images=str(tmp_path / "manifest.parquet")))
    assert named_by_rows.class_names == ("x", "y")
    assert decoder(4, 10**6, None)({"uri": np.array(named_by_rows.train.uris.to_pylist(), object)})["counts"].all()


def test_voc_trains_on_all_that_is_not_tested_and_takes_the_largest_object(tmp_path: Path) -> None:
    train = {f"t{index}": [("cat", 9), ("dog", 5 if index % 2 else 20)] for index in range(8)}
    val = {f"v{index}": [("cat", 9)] for index in range(3)}
    images = list_images(settings(dataset="voc", root=voc(tmp_path, train, val), validation_share=0.25))
    assert images.class_names == ("cat", "dog")
    assert (len(images.train), len(images.validation), len(images.test)) == (6, 2, 3)
    found = {
        uri.as_py(): label
        for part in (images.train, images.validation)
        for uri, label in zip(part.uris, part.labels, strict=True)
    }
    assert [found[str(tmp_path / "JPEGImages" / f"t{index}.jpg")] for index in range(4)] == [1, 0, 1, 0]
    assert {Path(uri.as_py()).stem for uri in images.test.uris} == set(val)


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
            "2 images are train and test images at once",
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
    images = Labelled.of([str(index) for index in range(40)], [index % 4 for index in range(40)])
    first, again, other = (hold_out(images, 0.3, seed)[1] for seed in (0, 0, 1))
    assert first.uris == again.uris != other.uris
    assert [first.labels.tolist().count(label) for label in range(4)] == [3] * 4


def test_the_digest_depends_on_images_labels_and_parts() -> None:
    one, two = Labelled.of(["a"], [0]), Labelled.of(["b"], [1])
    nothing = Labelled.of([], [])
    digests = {
        Images(names, *parts).sha256
        for names in (("x", "y"), ("y", "x"))
        for parts in ((one, two, nothing), (two, one, nothing), (Labelled.of(["a"], [1]), two, nothing))
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
