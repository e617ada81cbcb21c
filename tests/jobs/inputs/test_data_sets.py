"""Readers of data sets by name: trees made here, a bucket, and real photographs."""

import io
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import s3fs
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from jobs.errors import SettingsError
from jobs.inputs.data_sets import DATA_SETS, DataSetListing, read_data_set
from jobs.inputs.data_sets.voc import VOC2012_CLASSES, _largest_instance
from jobs.storage import files as storage
from saliency_core.imaging.masks import decode_mask
from tests.support.s3_server import S3Server

SALIENT = {
    "msra10k": ("Imgs", "Imgs", "MSRA10K_Imgs_GT"),
    "ecssd": ("images", "ground_truth_mask", "ECSSD"),
    "dut-omron": ("DUT-OMRON-image", "pixelwiseGT-new-PNG", "DUT-OMRON"),
    "duts-te": ("DUTS-TE-Image", "DUTS-TE-Mask", "DUTS-TE"),
    "pascal-s": ("datasets/imgs/pascal", "datasets/masks/pascal", "salObj"),
}
Box = tuple[str, float, float, float, float]


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def png(indices: np.ndarray) -> bytes:
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([value * factor % 256 for value in range(256) for factor in (37, 91, 153)])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def annotation(*boxes: Box) -> str:
    objects = "".join(
        f"<object><name>{name}</name>"
        f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>999</xmax><ymax>999</ymax></bndbox></part>"
        "</object>"
        for name, left, top, right, bottom in boxes
    )
    return f"<annotation><size><width>9</width></size>{objects}</annotation>"


def write_masks(root: Path, name: str, of_class: np.ndarray, of_object: np.ndarray | None) -> None:
    for folder, indices in (("SegmentationClass", of_class), ("SegmentationObject", of_object)):
        if indices is not None:
            (root / folder).mkdir(exist_ok=True)
            (root / folder / f"{name}.png").write_bytes(png(indices))


def write_voc(root: Path) -> None:
    """Six photographs; a to d have masks. Main holds all, Segmentation a to d."""
    touch(root / "JPEGImages", *(f"{name}.jpg" for name in "abdef"), "c.JPG", "unlisted.jpg")
    for path, names in {
        "Segmentation/train": "d",
        "Segmentation/val": "cab",
        "Segmentation/trainval": "dcab",
        "Main/train": "ed",
        "Main/val": "abcf",
        "Main/trainval": "fedcba",
    }.items():
        file = root / "ImageSets" / f"{path}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}\n" for name in names))
    (root / "Annotations").mkdir()
    for name in "abcdef":
        # Of the two boxes the second is larger by a fraction of a pixel.
        boxes = ("cat", 1, 1, 4, 5), ("tvmonitor", 10, 10, 14, 13.1)
        (root / "Annotations" / f"{name}.xml").write_text(annotation(*boxes))
    # a: two sheep (17) of 5 pixels each beside one bird (3) of 7: the largest object is the bird.
    of_object = np.array([[1] * 5 + [255, 2, 2, 2], [2, 2] + [3] * 7])
    write_masks(root, "a", np.choose(np.minimum(of_object, 4), [0, 17, 17, 3, 255]), of_object)
    # b: nearly everything is void.
    of_object = np.full((3, 4), 255)
    of_object[1, 1] = 7
    write_masks(root, "b", np.where(of_object == 7, 20, 255), of_object)
    # c: no labelled pixel at all; d: no instance mask.
    write_masks(root, "c", np.zeros((2, 2), int), np.full((2, 2), 255))
    write_masks(root, "d", np.full((2, 2), 5), None)


def names(listing: DataSetListing) -> list[str]:
    return [Path(uri).stem for uri in listing.image_uris]


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "voc"
    write_voc(root)
    return root


def test_every_data_set_says_what_it_is() -> None:
    assert set(DATA_SETS) == {"voc2012", "voc", *SALIENT}
    assert DATA_SETS["voc2012"].default_split == "val"
    assert DATA_SETS["voc"].splits == ("val", "train", "trainval", "finetune")
    assert DATA_SETS["ecssd"].default_split is None
    assert DATA_SETS["ecssd"].looked_for == "images/*.jpg with ground_truth_mask/*.png"


@pytest.mark.parametrize("name", SALIENT)
@pytest.mark.parametrize("is_nested", [False, True])
def test_salient_object_data_sets_pair_by_name(name: str, is_nested: bool, tmp_path: Path) -> None:
    images, masks, archive = SALIENT[name]
    base = tmp_path / archive if is_nested else tmp_path
    touch(base / images, "b.JPG", "a-1.jpg", "a.jpeg", "Thumbs.db", "._a.jpeg")
    touch(base / masks, "a.png", "a-1.PNG", "b.png", "._b.png", "readme.txt")
    touch(base / images / "deeper", "c.jpg")
    listing = read_data_set(name, str(tmp_path))
    assert listing == DataSetListing(
        image_uris=[str(base / images / file) for file in ("a-1.jpg", "a.jpeg", "b.JPG")],
        mask_uris=[str(base / masks / file) for file in ("a-1.PNG", "a.png", "b.png")],
        class_names_of_images=[None, None, None],
        class_names=None,
        mask_format="binary",
    )


def test_pascal_s_as_it_is_handed_round(tmp_path: Path) -> None:
    touch(tmp_path / "PASCAL-S" / "images", "1.jpg")
    touch(tmp_path / "PASCAL-S" / "masks", "1.png")
    assert read_data_set("pascal-s", str(tmp_path)).mask_uris == [str(tmp_path / "PASCAL-S/masks/1.png")]


def test_root_may_be_a_link_a_uri_or_end_with_a_slash(tmp_path: Path) -> None:
    touch(tmp_path / "kept" / "images", "1.jpg")
    touch(tmp_path / "kept" / "ground_truth_mask", "1.png")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    expected = [str(tmp_path / "link/images/1.jpg")]
    for root in (f"{tmp_path}/link", f"{tmp_path}/link/", f"file://{tmp_path}/link"):
        assert read_data_set("ecssd", root).image_uris == expected


def test_incomplete_salient_object_data_sets(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no data set ecssd at .*: looked for images/\*.jpg with .* inside ECSSD$"):
        read_data_set("ecssd", str(tmp_path))
    touch(tmp_path / "images", "1.jpg", "2.jpg", "3.jpg")
    with pytest.raises(SettingsError, match=r"^3 of 3 images have no mask in .*/ground_truth_mask \(such as 1.png\): "):
        read_data_set("ecssd", str(tmp_path))
    touch(tmp_path / "ground_truth_mask", "1.png", "3.png")
    with pytest.raises(SettingsError, match=r"^1 of 3 images have no mask in .* \(such as 2.png\): unpack"):
        read_data_set("ecssd", str(tmp_path))
    touch(tmp_path / "ground_truth_mask", "2.png", "4.png")
    with pytest.raises(SettingsError, match=r"^1 of 4 masks have no image in .*/images \(such as 4.jpg\): unpack"):
        read_data_set("ecssd", str(tmp_path))
    touch(tmp_path / "images", "3.JPEG")
    with pytest.raises(SettingsError, match=r"/images holds 3\.\w+ and 3\.\w+: remove one"):
        read_data_set("ecssd", str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imagenet", "/data"), "no data set 'imagenet': choose one of voc2012, voc, msra10k"),
        (("voc", "/data", "test"), "voc has no split 'test': choose one of val, train, trainval, finetune"),
        (("ecssd", "/data", "val"), "ecssd has no split 'val': leave the split out"),
        (("voc", "nowhere://data"), "^nowhere://data cannot be read: Protocol not known"),
        (("voc2012", "/data"), "no data set voc2012 at /data: .* inside VOC2012 or VOCdevkit/VOC2012$"),
    ],
)
def test_wrong_questions(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_data_set(*arguments)


def test_salient_object_data_sets_have_no_classes() -> None:
    with pytest.raises(SettingsError, match=r"images of the data set ecssd have no classes"):
        read_data_set("ecssd", "/data", with_classes=True)


@pytest.mark.parametrize(
    ("split", "expected"), [(None, "abc"), ("val", "abc"), ("train", "d"), ("trainval", "abcd"), ("finetune", "def")]
)
def test_voc_splits(voc: Path, split: str | None, expected: str) -> None:
    listing = read_data_set("voc2012", str(voc), split)
    assert names(listing) == list(expected)
    assert listing.mask_uris == [
        str(voc / f"SegmentationClass/{name}.png") if name in "abcd" else None for name in expected
    ]
    assert listing.class_names_of_images == [None] * len(expected)
    assert listing.class_names == VOC2012_CLASSES
    assert listing.mask_format == "voc"


def test_voc_class_is_that_of_the_largest_object(voc: Path) -> None:
    listing = read_data_set("voc2012", str(voc), "trainval", with_classes=True)
    assert listing.class_names_of_images == ["bird", "tvmonitor", "tvmonitor", "tvmonitor"]
    (voc / "Annotations/d.xml").write_text(annotation())
    (voc / "Annotations/a.xml").unlink()  # not needed where there is an instance mask
    (voc / "Annotations/e.xml").write_text(annotation(("cat", 1, 1, 4, 5), ("dog", 1, 1, 5, 4)))
    found = {
        split: read_data_set("voc2012", str(voc), split, with_classes=True).class_names_of_images
        for split in ("trainval", "finetune")
    }
    assert found == {"trainval": ["bird", "tvmonitor", "tvmonitor", None], "finetune": [None, "cat", "tvmonitor"]}


def test_voc_classes_are_read_in_batches(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_data_set("voc2012", str(voc), "trainval", with_classes=True)
    monkeypatch.setattr("jobs.inputs.data_sets.voc.FILES_AT_ONCE", 2)
    assert read_data_set("voc2012", str(voc), "trainval", with_classes=True) == whole


def test_listing_without_classes_opens_no_masks_or_annotations(voc: Path) -> None:
    for path in (*voc.glob("Segmentation*/*.png"), *voc.glob("Annotations/*.xml")):
        path.write_bytes(b"damaged")
    assert names(read_data_set("voc2012", str(voc))) == ["a", "b", "c"]


@given(st.data(), npst.array_shapes(min_dims=2, max_dims=2, max_side=5))
def test_largest_instance_against_a_loop(data: st.DataObject, shape: tuple[int, int]) -> None:
    of_object = data.draw(npst.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 254, 255])))
    class_of_object = [0, *data.draw(st.lists(st.sampled_from([1, 2, 254]), min_size=254, max_size=254)), 255]
    of_class = np.array(class_of_object, np.uint8)[of_object]
    sizes = {number: int((of_object == number).sum()) for number in range(1, 255)}
    largest = max(sizes, key=sizes.__getitem__)
    assert _largest_instance(of_class, of_object) == (class_of_object[largest] if sizes[largest] else 0)


@pytest.mark.parametrize("inside", ["VOC2012", "VOCdevkit/VOC2012"])
def test_voc_inside_its_archive(inside: str, tmp_path: Path) -> None:
    write_voc_at = tmp_path / inside
    write_voc_at.mkdir(parents=True)
    write_voc(write_voc_at)
    assert read_data_set("voc2012", str(tmp_path)).image_uris[0] == str(write_voc_at / "JPEGImages/a.jpg")


def test_voc_layout_with_classes_of_its_own(voc: Path) -> None:
    with pytest.raises(SettingsError, match=r"/classes.txt cannot be read: it is not there$"):
        read_data_set("voc", str(voc))
    own = ["cat", "tvmonitor", "swallow", *(f"class {index}" for index in range(4, 21))]
    (voc / "classes.txt").write_text("\r\n".join([*own, ""]))
    listing = read_data_set("voc", str(voc), with_classes=True)
    assert listing.class_names == tuple(own)
    assert listing.class_names_of_images == ["swallow", "class 20", "tvmonitor"]


def test_voc_layout_takes_from_main_what_segmentation_lacks(voc: Path) -> None:
    (voc / "classes.txt").write_text("cat\n")
    for path in ("Segmentation/train", "Segmentation/trainval", "Main/trainval"):
        (voc / f"ImageSets/{path}.txt").unlink()
    expected = {"val": "abc", "train": "de", "trainval": "abcdef", "finetune": "def"}
    assert {split: "".join(names(read_data_set("voc", str(voc), split))) for split in expected} == expected
    with pytest.raises(SettingsError, match=r"^the split train is missing in .*: looked for ImageSets/Segm\S+/train"):
        read_data_set("voc2012", str(voc), "train")
    (voc / "ImageSets/Main/train.txt").unlink()
    with pytest.raises(SettingsError, match=r"looked for ImageSets/Main/trainval.txt$"):
        read_data_set("voc", str(voc), "finetune")
    (voc / "ImageSets/Segmentation/val.txt").write_text("\n")
    with pytest.raises(SettingsError, match=r"the split val of .* names no images"):
        read_data_set("voc", str(voc))


def _damage(path: str, content: bytes | None) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        if content is None:
            (root / path).unlink()
        else:
            (root / path).write_bytes(content)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _damage("JPEGImages/b.jpg", None),
            r"^1 of 3 images have no photograph in .*/JPEGImages \(such as b.jpg\): unp",
        ),
        (
            _damage("SegmentationClass/a.png", None),
            r"^1 of 3 images have no mask in .*/SegmentationClass \(such as a.png",
        ),
        (
            _damage("Annotations/c.xml", None),
            r"^1 of 1 images have no annotation in .*/Annotations \(such as c.xml\): ",
        ),
        (_damage("SegmentationObject/b.png", b"\x89PNG"), "SegmentationObject/b.png cannot be read: cannot identify"),
        (_damage("SegmentationObject/b.png", png(np.ones((9, 9)))), "b.png and .*b.png differ in size: unpack"),
        (
            _damage("SegmentationClass/a.png", png(np.full((2, 9), 21))),
            "a.png holds the class index 21, .* has 20 classes",
        ),
        (_damage("Annotations/c.xml", b"<annotation>"), "c.xml cannot be read: no element found"),
        (
            _damage("Annotations/c.xml", annotation(("moth", 1, 1, 2, 2)).encode()),
            "c.xml names the class 'moth', which",
        ),
        (
            _damage("Annotations/c.xml", b"<annotation><object><name>cat</name></object></annotation>"),
            "c.xml cannot be read: an object needs a name and a bndbox with xmin, ymin, xmax, ymax",
        ),
        (_damage("ImageSets/Segmentation/val.txt", b"\xff\xfe"), "val.txt cannot be read: 'utf-8' codec"),
    ],
)
def test_incomplete_and_damaged_voc(voc: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(voc)
    with pytest.raises(SettingsError, match=message):
        read_data_set("voc2012", str(voc), with_classes=True)


def test_a_colour_mask_is_no_mask_of_indices(voc: Path) -> None:
    Image.new("RGB", (9, 2), (128, 0, 0)).save(voc / "SegmentationClass/a.png")
    with pytest.raises(SettingsError, match=r"a.png is no image of palette indices"):
        read_data_set("voc2012", str(voc), with_classes=True)


def test_an_annotation_that_cannot_be_opened_is_not_called_missing(voc: Path) -> None:
    (voc / "Annotations/c.xml").unlink()
    (voc / "Annotations/c.xml").mkdir()
    with pytest.raises(SettingsError, match=r"c.xml cannot be read: .*Is a directory"):
        read_data_set("voc2012", str(voc), with_classes=True)


def test_a_bucket_lists_as_the_folder_does(s3_server: S3Server, voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3_server.make_bucket("data-sets")
    root = "s3://data-sets/a prefix"
    for path in voc.rglob("*.*"):
        storage.write_bytes(f"{root}/VOCdevkit/VOC2012/{path.relative_to(voc)}", path.read_bytes())
    for split in ("trainval", "finetune"):
        local = read_data_set("voc2012", str(voc), split, with_classes=True)
        remote = read_data_set("voc2012", f"{root}/", split, with_classes=True)
        moved = [uri.replace(str(voc), f"{root}/VOCdevkit/VOC2012") for uri in local.image_uris]
        assert remote.image_uris == moved
        assert remote.class_names_of_images == local.class_names_of_images
        masks = [uri and uri.replace(str(voc), f"{root}/VOCdevkit/VOC2012") for uri in local.mask_uris]
        assert remote.mask_uris == masks
    storage.remove_tree(f"{root}/VOCdevkit/VOC2012/Annotations/c.xml")
    with pytest.raises(SettingsError, match=r"1 of 1 images have no annotation in s3://.*/Annotations \(such as c.xml"):
        read_data_set("voc2012", root, with_classes=True)
    with pytest.raises(SettingsError, match=r"^s3://data-sets/.*/classes.txt cannot be read: it is not there$"):
        read_data_set("voc", f"{root}/VOCdevkit/VOC2012")
    with pytest.raises(SettingsError, match=r"no data set ecssd at s3://data-sets/a prefix: "):
        read_data_set("ecssd", root)
    with pytest.raises(SettingsError, match=r"^s3://no-such-bucket/x/images cannot be read: it is not there$"):
        read_data_set("ecssd", "s3://no-such-bucket/x")


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "count"), [("val", 160), ("train", 240), ("trainval", 400), ("finetune", 240)])
def test_butterflies(real_data: Path, split: str, count: int) -> None:
    root = real_data / "leeds_voc"
    listing = read_data_set("voc", str(root), split, with_classes=True)
    assert listing.class_names is not None
    assert len(listing.class_names) == 10
    assert len(listing.image_uris) == len(set(listing.image_uris)) == count
    # Every photograph shows one butterfly: mask and annotation have to agree.
    annotations = [ElementTree.parse(root / "Annotations" / f"{name}.xml") for name in names(listing)]
    assert listing.class_names_of_images == [tree.findtext("object/name") for tree in annotations]
    masks = [Path(uri).stem for uri in listing.mask_uris if uri is not None]
    assert masks == (names(read_data_set("voc", str(root))) if split in ("val", "trainval") else [])


@pytest.mark.real_data
def test_ecssd_pairs(real_data: Path) -> None:
    listing = read_data_set("ecssd", str(real_data / "ecssd"))
    assert len(listing.image_uris) == 500
    assert [Path(uri).stem for uri in listing.mask_uris if uri] == names(listing)
    image, mask = listing.image_uris[7], listing.mask_uris[7]
    assert mask is not None
    with Image.open(image) as photograph:
        assert decode_mask(Path(mask).read_bytes(), format=listing.mask_format).shape == photograph.size[::-1]
