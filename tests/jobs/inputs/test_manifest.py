"""Making the manifest: listing in pages and ranges, lists and tables, pairing with masks, ids, digest, extension."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import SettingsError
from jobs.inputs import listing
from jobs.inputs import manifest as manifest_module
from jobs.inputs import sources as inputs_module
from jobs.inputs.listing import iterate_files
from jobs.inputs.manifest import SCHEMA, StagedManifest, joined_digest, row_digest, stage_manifest
from jobs.inputs.masks import index_masks
from jobs.inputs.sources import InputBatch, Inputs, open_inputs
from jobs.run.manifest_files import known_images, manifest_files, read_shard, remove_leftovers, write_manifest
from jobs.run.shards import SHARDS_PER_FILE, Segment, Shards
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from jobs.storage.hashing import hash64, stable_id
from tests.support.s3_server import S3Server


def settings_of(images: Path | str, **more: Any) -> SaliencySettings:
    return SaliencySettings(images=str(images), output="unused", method="low-level", **more)


def staged_rows(staged: StagedManifest) -> list[dict[str, Any]]:
    return pa.Table.from_batches(staged.batches(), schema=SCHEMA).to_pylist()


def stage(images: Path | str, classes: Sequence[str] | None = None, **more: Any) -> list[dict[str, Any]]:
    chosen = settings_of(images, **more)
    return staged_rows(stage_manifest(open_inputs(chosen), chosen.label, lambda: classes))


def batches_of(uris: Sequence[str], size: int = 3, ids: Sequence[int] | None = None) -> Inputs:
    def one(part: slice) -> InputBatch:
        nothing = [None] * len(uris[part])
        return InputBatch(list(uris[part]), list(nothing), list(nothing), list(ids[part]) if ids is not None else None)

    return Inputs(one(slice(start, start + size)) for start in range(0, len(uris), size))


# Listing.


class PagedStore:
    """The part of S3 that lists: pages of a few keys in the order of their bytes, with delimiters and StartAfter."""

    def __init__(self, keys: Sequence[str], page: int) -> None:
        self.keys = sorted(keys, key=str.encode)
        self.page = page
        self.requests = 0

    def call_s3(
        self,
        _: str,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        Delimiter: str = "",  # noqa: N803
        StartAfter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        assert Bucket == "bucket"
        self.requests += 1
        start = max(StartAfter, ContinuationToken)
        entries: dict[str, bool] = {}
        for key in self.keys:
            if not key.startswith(Prefix):
                continue
            rest = key[len(Prefix) :]
            is_folder = bool(Delimiter) and Delimiter in rest
            name = Prefix + rest.split(Delimiter)[0] + Delimiter if is_folder else key
            if name > start and not (is_folder and start.startswith(name)):
                entries[name] = is_folder
        names = list(entries)
        shown = names[: self.page]
        answer: dict[str, Any] = {
            "Contents": [{"Key": name} for name in shown if not entries[name]],
            "CommonPrefixes": [{"Prefix": name} for name in shown if entries[name]],
            "IsTruncated": len(names) > self.page,
        }
        if answer["IsTruncated"]:
            answer["NextContinuationToken"] = shown[-1]
        return answer

    def isfile(self, path: str) -> bool:
        return path.removeprefix("bucket/") in self.keys


PARTS = st.text(st.sampled_from("ab-é%\U0001f600"), min_size=1, max_size=2)
KEYS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@settings(max_examples=80, deadline=None)
@given(st.sets(KEYS, max_size=60), st.integers(1, 7), st.sampled_from(["", "a", "a/b", "-"]))
def test_s3_ranges_cover_every_key_once_and_in_order(keys: set[str], page: int, folder: str) -> None:
    store = PagedStore([f"top/{key}" for key in keys] + ["top2/x", "to/x", "top/a/"], page)
    path = f"bucket/top/{folder}".rstrip("/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "RANGES", 4)
        patch.setattr(listing, "SPOOL_BYTES", 16)
        patch.setattr(storage, "resolve", lambda uri: (store, path))
        found = [uri for found_page in iterate_files("s3://" + path) for uri in found_page]
    prefix = f"top/{folder}/" if folder else "top/"
    expected = [key for key in store.keys if key.startswith(prefix) and not key.endswith("/")]
    if not expected and path.removeprefix("bucket/") in store.keys:
        expected = [path.removeprefix("bucket/")]
    assert found == [f"s3://bucket/{key}" for key in expected]


def test_a_long_listing_is_cut_at_its_sub_prefixes() -> None:
    keys = [f"photos/2026/{month:02d}/{index:04d}.jpg" for month in range(12) for index in range(50)]
    store = PagedStore(keys, 20)
    cuts = listing._cuts(store, "bucket", "photos/")
    assert cuts == [f"photos/2026/{month:02d}/" for month in range(12)]
    whole = -(-len(keys) // 20)
    store.requests = 0
    assert [key for page in listing._s3_pages(store, "bucket/photos") for key in page] == [f"bucket/{k}" for k in keys]
    assert store.requests <= 2 * whole


def test_listing_of_a_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3_server.make_bucket("listing")
    keys = ["a/1.jpg", "a-1.jpg", "a/b/2.jpg", "b/100 % ü#?[1].jpg", "b/3.jpg", "c.jpg", "d/e/f/4.jpg", "a/b/5 +.jpg"]
    for key in keys:
        storage.write_bytes(f"s3://listing/top/{key}", b"x")
    storage.write_bytes("s3://listing/top-2/x.jpg", b"x")
    ask = listing._request

    def short(filesystem: Any, bucket: str, prefix: str, **options: Any) -> dict[str, Any]:
        return ask(filesystem, bucket, prefix, **options | {"MaxKeys": 2})

    monkeypatch.setattr(listing, "_request", short)
    monkeypatch.setattr(listing, "RANGES", 4)
    expected = [f"s3://listing/top/{key}" for key in sorted(keys, key=str.encode)]
    assert [uri for page in iterate_files("s3://listing/top") for uri in page] == expected
    assert list(iterate_files("s3://listing/top/c.jpg")) == [["s3://listing/top/c.jpg"]]
    assert list(iterate_files("s3://listing/nothing")) == []


def test_listing_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    names = ["a/1", "a/2", "a/b/3", "a-1", "b", "c/d/4"]
    for name in names:
        (tmp_path / "top" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / name).touch()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "top" / "b")
    (tmp_path / "top" / "elsewhere").symlink_to(tmp_path / "top" / "a")
    found = [uri for page in iterate_files(str(tmp_path / "top")) for uri in page]
    assert found == [str(tmp_path / "top" / name) for name in sorted([*names, "link", "elsewhere"])]
    assert list(iterate_files(str(tmp_path / "top" / "b"))) == [[str(tmp_path / "top" / "b")]]
    assert list(iterate_files(str(tmp_path / "nothing"))) == []


def test_listing_of_other_storage(tmp_path: Path) -> None:
    for name in ("2.png", "1.png", "deep/3.png"):
        storage.write_bytes(f"memory://{tmp_path.name}/{name}", b"x")
    found = stage(f"memory://{tmp_path.name}")
    assert [row["image_uri"].rsplit("/", 1)[-1] for row in found] == ["1.png", "2.png", "3.png"]


def test_a_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    with (tmp_path / "a\udcff.png").open("wb"):
        pass
    with pytest.raises(SettingsError, match=r"cannot be read|not UTF-8"):
        stage(tmp_path)


# Lists and tables.


def test_lists_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs_module, "BATCH_ROWS", 2)
    lines = [f"s3://bucket/{index}.jpg" for index in range(5)]
    (tmp_path / "list.txt").write_text("\n\n".join([*lines, ""]))
    assert [row["image_uri"] for row in stage(tmp_path / "list.txt")] == lines
    table = pa.table({"uri": lines, "label": ["ape", None, "bee", "ape", ""], "other": range(5)})
    pq.write_table(table, tmp_path / "list.parquet")
    assert [row["label"] for row in stage(tmp_path / "list.parquet", ["ape", "bee"])] == [0, -1, 1, 0, -1]
    text = "\ufeffuri,label,id\n" + "".join(f"{line},{index % 2},{index - 2}\n" for index, line in enumerate(lines))
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    rows = stage(tmp_path / "list.csv", ["ape", "bee"])
    assert [(row["image_id"], row["label"]) for row in rows] == [(-2, 0), (-1, 1), (0, 0), (1, 1), (2, 0)]


def test_labels_of_a_csv_file_may_be_numbers_and_names(tmp_path: Path) -> None:
    # Past the first block of the reader, which would have made numbers of all labels.
    lines = [f"{index:020d}.jpg,{index % 2}" for index in range(50_000)]
    (tmp_path / "list.csv").write_text("\n".join(["uri,label", *lines, "last.jpg,bee"]))
    rows = stage(tmp_path / "list.csv", ["ape", "bee"])
    assert [row["label"] for row in rows[-3:]] == [0, 1, 1]
    assert rows[-1]["image_uri"] == str(tmp_path / "last.jpg")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name\na.jpg\n", "has no column uri"),
        ("uri,id\na.jpg,one\n", "must hold a 64-bit integer"),
        ("uri,id\na.jpg,\n", "must hold a 64-bit integer"),
        ("uri,id\na.jpg,99999999999999999999\n", "must hold a 64-bit integer"),
        ("uri,label\na.jpg,cat\n", "neither a number nor a class"),
        ("uri,label\na.jpg,7\n", r"not a class of the network \(0 to 1\)"),
        ("uri,label\na.jpg,-2\n", "not a class of the network"),
        ("uri,id\na.jpg,1\nb.jpg,1\n", "1 ids stand for more than one row"),
        ("uri,id\n,1\n", "rows without a uri"),
        ("uri\n", "there are no images"),
    ],
)
def test_wrong_tables(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(SettingsError, match=words):
        stage(tmp_path / "list.csv", ["ape", "bee"])


def test_a_network_is_loaded_only_where_there_are_labels(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()

    def fail() -> None:
        raise AssertionError

    assert stage_manifest(open_inputs(settings_of(tmp_path)), None, fail).images == 1
    with pytest.raises(AssertionError):
        stage_manifest(open_inputs(settings_of(tmp_path)), 3, fail)


# Masks.


def test_masks_are_paired_by_their_place_and_name(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for name in ("a.jpg", "b.c.jpg", "deep/a.jpg", "lonely.jpg", "é %41.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    for name in ("a.PNG", "b.c.png", "deep/a.tiff", "other.png", "notes.txt", "é %41.bmp"):
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        (masks / name).touch()
    found = {row["image_uri"].removeprefix(f"{images}/"): row["mask_uri"] for row in stage(images, masks=str(masks))}
    assert found == {
        "a.jpg": f"{masks}/a.PNG",
        "b.c.jpg": f"{masks}/b.c.png",
        "deep/a.jpg": f"{masks}/deep/a.tiff",
        "lonely.jpg": None,
        "é %41.png": f"{masks}/é %41.bmp",
    }
    (tmp_path / "list.txt").write_text(f"{images}/deep/a.jpg\n")
    assert stage(tmp_path / "list.txt", masks=f"{masks}/")[0]["mask_uri"] == f"{masks}/a.PNG"
    (masks / "a.jpg").touch()
    with pytest.raises(SettingsError, match=rf"two masks have the name a: {masks}/a.\w+ and {masks}/a.\w+"):
        stage(images, masks=str(masks))


def test_the_index_of_masks_takes_ten_bytes_a_mask(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.png").touch()
    index = index_masks(str(tmp_path))
    assert index.hashes.nbytes + index.extensions.nbytes == 300 * 10
    assert index.find(["7", "300", "299"]) == [f"{tmp_path}/7.png", None, f"{tmp_path}/299.png"]


# Ids, digest, shards.


def test_two_images_with_one_id_are_found_across_batches() -> None:
    uris = [f"{index}.jpg" for index in range(10)]
    with pytest.raises(SettingsError, match=r"2 ids stand for more than one row \(such as 1.jpg\)"):
        stage_manifest(batches_of(uris, ids=[5, 1, 2, 3, 4, 6, 7, 8, 1, 5]))


def test_a_collision_of_made_ids_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "stable_id", lambda uri: len(uri))
    with pytest.raises(SettingsError, match="1 ids stand for more than one row"):
        stage_manifest(batches_of(["a.jpg", "bb.jpg", "ccc.jpg", "dd.jpg"]))


def test_ids_are_those_of_earlier_versions() -> None:
    """Results of different runs are joined by id: it may not change."""
    assert stable_id("s3://bucket/a.jpg") == hash64("s3://bucket/a.jpg") >> 1
    digest = hashlib.blake2b(b"s3://bucket/a.jpg", digest_size=8).digest()
    assert stable_id("s3://bucket/a.jpg") == int.from_bytes(digest, "big") >> 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=5), unique=True, min_size=1, max_size=20), st.randoms())
def test_the_digest_belongs_to_the_set_of_rows(uris: list[str], random: Any) -> None:
    shuffled = random.sample(uris, len(uris))
    cut = random.randrange(len(uris) + 1)
    whole = stage_manifest(batches_of(uris))
    assert whole.digest == stage_manifest(batches_of(shuffled, size=2)).digest
    parts = [stage_manifest(batches_of(part)) for part in (shuffled[:cut], shuffled[cut:])]
    assert joined_digest(parts[0].digest, parts[1].digest) == whole.digest
    assert whole.digest != stage_manifest(batches_of([*uris, "one more"])).digest


def test_the_digest_sees_every_column() -> None:
    rows = [(1, "a", None, -1), (2, "a", None, -1), (1, "b", None, -1), (1, "a", "b", -1), (1, "a", None, 0)]
    assert len({row_digest(*row) for row in rows}) == len(rows)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 350), st.integers(1, 5), st.lists(st.integers(1, 30), max_size=2))
def test_shards_hold_every_row_once(count: int, rows_per_shard: int, more: list[int]) -> None:
    output = f"memory://shards/{count}-{rows_per_shard}-{'-'.join(map(str, more))}"
    shards = Shards(rows_per_shard)
    start = 0
    for part in (count, *more):
        uris = [f"{index}.jpg" for index in range(start, start + part)]
        shards = shards.extended(part) if shards.segments else Shards(rows_per_shard, (Segment(0, part),))
        write_manifest(stage_manifest(batches_of(uris, size=7)), output, shards)
        start += part
    assert Shards.from_record(shards.recorded()) == shards
    found = [read_shard(output, shard) for shard in shards.numbers.tolist()]
    assert [table.num_rows for table in found] == shards.rows(shards.numbers).tolist()
    assert pa.concat_tables(found)["image_uri"].to_pylist() == [f"{index}.jpg" for index in range(start)]
    assert sorted(storage.list_files(f"{output}/_manifest")) == sorted(
        uri.replace("memory://", "memory:///") for uri in manifest_files(output, shards)
    )
    assert all(segment.first_shard % SHARDS_PER_FILE == 0 for segment in shards.segments)
    known = known_images(output, shards)
    assert len(known.ids) == start
    assert known.contain(np.array([stable_id("0.jpg"), 7]), ["0.jpg", "new.jpg"]).tolist() == [True, False]
    first = Shards(rows_per_shard, shards.segments[:1])
    remove_leftovers(output, first)
    assert len(storage.list_files(f"{output}/_manifest")) == len(manifest_files(output, first))


def test_new_images_with_the_id_of_an_old_one_are_refused(tmp_path: Path) -> None:
    output = str(tmp_path)
    shards = Shards(10, (Segment(0, 2),))
    write_manifest(stage_manifest(batches_of(["a.jpg", "b.jpg"], ids=[1, 2])), output, shards)
    known = known_images(output, shards)
    staged = stage_manifest(batches_of(["b.jpg", "c.jpg"], ids=[2, 3]), known=known)
    assert [row["image_uri"] for row in staged_rows(staged)] == ["c.jpg"]
    with pytest.raises(SettingsError, match=r"the id 1 of c.jpg belongs to another image"):
        stage_manifest(batches_of(["c.jpg"], ids=[1]), known=known)


@pytest.mark.parametrize("read", [lambda path: stage(path), lambda path: stage(path, masks=str(path))])
def test_what_cannot_be_listed_is_one_sentence(
    read: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").touch()

    def fail(_: str) -> None:
        raise PermissionError("s3://me:secret@bucket/x is not for you")

    monkeypatch.setattr(inputs_module, "iterate_files", fail)
    with pytest.raises(SettingsError, match=r"cannot be read: s3://bucket/x is not for you"):
        read(tmp_path)
