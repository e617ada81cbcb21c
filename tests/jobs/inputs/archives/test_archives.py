"""Images within archives: what is listed, what is read back, and what hostile and broken archives come to."""

import gzip
import struct
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.errors import ArchiveError, SettingsError
from jobs.inputs.archives import listing, reading, tar
from jobs.inputs.archives.columns import Columns
from jobs.inputs.archives.reading import read_bytes, read_many
from jobs.inputs.archives.uris import Member, member_of, without_place
from jobs.inputs.manifest import stage_manifest
from jobs.inputs.sources import InputBatch, Inputs, open_inputs, read_images
from jobs.planning.cluster import Cluster
from jobs.planning.plan import make_plan
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from tests.support.archives import image_table, link, save_to_disk, tar_bytes, write_parquet
from tests.support.s3_server import S3Server

CONTENTS = [bytes([index]) * (100 + 700 * index) for index in range(10)]
MASKS = [b"mask" * index if index % 2 else None for index in range(10)]


def webdataset(contents: list[bytes], masks: list[bytes | None] | None = None, first: int = 0) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    for index, content in enumerate(contents):
        key = f"{first + index:09d}"
        members |= {f"{key}.jpg": content, f"{key}.json": b"{}", f"{key}.txt": b"a caption"}
        if masks is not None and (mask := masks[index]) is not None:
            members[f"{key}.mask.png"] = mask
    return members


def listed(images: Path | str, columns: Columns | None = None, left_out: Counter[str] | None = None) -> InputBatch:
    batches = list(read_images(str(images), left_out, columns or Columns()))
    return InputBatch(
        [uri for batch in batches for uri in batch.image_uris],
        [uri for batch in batches for uri in batch.mask_uris],
        [],
    )


def read(uris: list[str]) -> list[Any]:
    return [str(found) if isinstance(found, Exception) else found for found in read_many(uris)]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    reading._indexed.cache_clear()


Maker = Callable[[Path], str]


def _tar(folder: Path) -> str:
    (folder / "00012.tar").write_bytes(tar_bytes(webdataset(CONTENTS, MASKS)))
    return str(folder / "00012.tar")


def _parquet(folder: Path) -> str:
    return str(write_parquet(image_table(CONTENTS, MASKS), folder / "part.parquet", 3))


def _arrow(folder: Path) -> str:
    return str(save_to_disk(image_table(CONTENTS, MASKS), folder / "saved", 3))


@pytest.mark.parametrize("make", [_tar, _parquet, _arrow])
def test_every_image_is_listed_with_its_mask_and_read_by_either_uri(tmp_path: Path, make: Maker) -> None:
    found = listed(make(tmp_path))
    assert read(found.image_uris) == CONTENTS
    shown = [without_place(uri) for uri in found.image_uris]
    assert len(set(shown)) == 10
    assert read(shown[::-1]) == CONTENTS[::-1]
    masks = [uri for uri in found.mask_uris if uri is not None]
    there = [mask for mask in MASKS if mask is not None]
    assert [read_bytes(uri) for uri in masks if not isinstance(read_many([uri])[0], Exception)] == there
    assert read_many([found.image_uris[5], shown[6]], limit=40) == [CONTENTS[5][:40], CONTENTS[6][:40]]


def test_uris_are_short_and_keep_their_form(tmp_path: Path) -> None:
    names = {"tar": "000000003.jpg", "parquet": "image/3", "arrow": "image/3"}
    for make in (_tar, _parquet, _arrow):
        archive = make(tmp_path)
        assert without_place(listed(archive).image_uris[3]) == f"{archive}#{names[archive.rsplit('.', 1)[-1]]}"


def test_shards_with_braces_lists_and_folders_are_one_input(tmp_path: Path) -> None:
    for number in range(3):
        members = webdataset(CONTENTS[:4], first=10 * number)
        (tmp_path / f"{number:05d}.tar").write_bytes(tar_bytes(members))
        pq.write_table(pa.table({"key": ["a"]}), tmp_path / f"{number:05d}.parquet")  # img2dataset's table of captions
    (tmp_path / "loose.jpg").write_bytes(b"loose")
    braces = listed(f"{tmp_path}/{{00000..00002}}.tar").image_uris
    assert len(braces) == 12
    assert read(braces) == CONTENTS[:4] * 3
    left_out: Counter[str] = Counter()
    folder = listed(tmp_path, left_out=left_out).image_uris
    assert sorted(folder) == sorted([str(tmp_path / "loose.jpg"), *braces])
    assert left_out == {".json": 12, ".txt": 12, ".parquet": 3}
    (tmp_path / "list.txt").write_text("00001.tar\nloose.jpg\n{00000,00002}.tar\n")
    assert sorted(listed(tmp_path / "list.txt").image_uris) == sorted(folder)


def test_a_folder_of_a_saved_data_set(tmp_path: Path) -> None:
    save_to_disk(image_table(CONTENTS), tmp_path / "set" / "train")
    (tmp_path / "set" / "train" / "cache-0123.arrow").write_bytes(b"of map()")
    assert read(listed(tmp_path / "set").image_uris) == CONTENTS


def test_ids_belong_to_the_member_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    ids = []
    for members in (webdataset(CONTENTS), {"first.txt": b"x" * 999} | webdataset(CONTENTS)):
        path.write_bytes(tar_bytes(members))
        staged = stage_manifest(Inputs(read_images(str(path))))
        rows = [row for batch in staged.batches() for row in batch.to_pylist()]
        ids.append([row["image_id"] for row in rows])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 10


def test_masks_of_a_folder_are_paired_with_members_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_bytes(webdataset(CONTENTS[:3])))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "000000001.png").write_bytes(b"mask")
    chosen = SaliencySettings(output="/out", images=str(tmp_path / "a.tar"), masks=str(tmp_path / "masks"))
    (batch,) = open_inputs(chosen).batches
    assert batch.mask_uris == [None, str(tmp_path / "masks" / "000000001.png"), None]


def test_columns_are_named_where_they_cannot_be_told(tmp_path: Path) -> None:
    table = image_table(CONTENTS).rename_columns(["caption", "boxes", "one", "label"])
    table = table.append_column("two", table["one"]).append_column("raw", pa.array(CONTENTS[::-1]))
    for path in (write_parquet(table, tmp_path / "a.parquet"), save_to_disk(table, tmp_path / "saved")):
        with pytest.raises(SettingsError, match=r"one, two hold some.*--image-column"):
            listed(path)
        assert read(listed(path, Columns("two")).image_uris) == CONTENTS
        assert read(listed(path, Columns("raw", "one")).image_uris) == CONTENTS[::-1]
        with pytest.raises(SettingsError, match="no column nix"):
            listed(path, Columns("nix"))


@pytest.mark.parametrize("column", ["image", "mask"])
def test_large_row_groups_are_said_before_the_start(
    column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [str(write_parquet(image_table(CONTENTS, MASKS), tmp_path / f"{rows}.parquet", rows)) for rows in (2, 10)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    wanted = column if column == "mask" else None
    found = SaliencySettings(images=f"{tmp_path}/list.txt", output="out", method="region-contrast", image_column=wanted)

    def described() -> str:
        return make_plan(found, Cluster(None, 4, 0)).describe()

    assert "warning" not in described()
    largest = sum(map(len, CONTENTS if column == "image" else filter(None, MASKS)))
    monkeypatch.setattr(listing, "MOST_READ_AT_ONCE", largest // 2)
    (line,) = (line for line in described().splitlines() if line.startswith("warning"))
    assert f"{names[1]} has row groups with up to" in line


def test_consecutive_members_are_one_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = listed(_tar(tmp_path))
    requests: list[Any] = []
    monkeypatch.setattr(storage, "read_range", _noting(requests, storage.read_range))
    assert read(found.image_uris) == CONTENTS
    assert len(requests) == 1
    requests.clear()
    monkeypatch.setattr(reading, "MOST_BETWEEN", 0)
    assert read([found.image_uris[1], found.image_uris[8]]) == [CONTENTS[1], CONTENTS[8]]
    assert len(requests) == 2


def _noting(requests: list[Any], action: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        requests.append(arguments)
        return action(*arguments)

    return noted


def test_large_members_are_not_read_to_find_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "STREAM_BYTES", 2**16)
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes({f"{index}.jpg": bytes(2**21) for index in range(8)}))
    requests: list[Any] = []
    monkeypatch.setattr(storage, "read_range", _noting(requests, storage.read_range))
    assert len(listed(path).image_uris) == 8
    assert sum(end - start for _, start, end in requests) < 2**19


def broken(uri: str) -> int | None:
    member = member_of(uri)
    return None if member is None or member.name else member.fault_at


def damaged(at: int, what: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + what + content[at + len(what) :]


def huge_pax(content: bytes) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 2**40
    return content[:1536] + info.tobuf(tarfile.GNU_FORMAT)[:512] + content[2048:]


def negative(content: bytes) -> bytes:
    info = bytearray(tarfile.TarInfo("0.jpg").tobuf(tarfile.GNU_FORMAT)[:512])
    info[124:136] = b"\xff" + (-4096).to_bytes(11, "big", signed=True)
    info[148:156] = b"%06o\0 " % (256 + sum(info[:148]) + sum(info[156:512]))
    return content[:1536] + bytes(info) + content[2048:]


@pytest.mark.parametrize(
    ("damage", "rows", "at", "reason"),
    [
        (lambda content: content[:2000], 1, 1536, "ends"),
        (lambda content: content[:1700], 1, 1536, "ends|truncated"),
        (damaged(1536, b"\xaa" * 300), 1, 1536, "no header|invalid"),
        (damaged(1536 + 124, b"77777777777\0"), 1, 1536, "header"),
        (huge_pax, 1, 1536, "empty header"),
        (negative, 1, 1536, "backwards|negative"),
    ],
)
def test_a_broken_tar_gives_what_can_be_read_and_a_row_for_the_rest(
    tmp_path: Path, damage: Callable[[bytes], bytes], rows: int, at: int, reason: str
) -> None:
    path = tmp_path / "a.tar"
    members = {f"{index}.jpg": bytes([index]) * 900 for index in range(6)}
    path.write_bytes(damage(tar_bytes(members, tarfile.GNU_FORMAT)))
    found = listed(path).image_uris
    assert read(found[:rows]) == [members["0.jpg"]]
    assert len(found) == rows + 1
    assert without_place(found[-1]) == f"{path}#@{at}"
    with pytest.raises(ArchiveError, match=rf"a\.tar cannot be read from byte {at} on: .*({reason})"):
        read_bytes(found[-1])


def test_lengths_in_headers_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes({"0.jpg": b"0", "n" * 5000 + ".jpg": b"1"}, tarfile.GNU_FORMAT))
    assert len(listed(path).image_uris) == 2
    monkeypatch.setattr(tar, "LONGEST_HEADER", 4096)
    found = listed(path).image_uris
    assert [broken(uri) for uri in found] == [None, 1024]
    assert "would have to be read at once" in read(found)[1]


def test_links_sparse_members_and_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    sparse = tarfile.TarInfo("sparse.jpg")
    sparse.type = tarfile.GNUTYPE_SPARSE
    members: dict[str, Any] = {
        "/etc/absolute.jpg": b"absolute",
        "../up.jpg": b"up",
        "sym.jpg": link("sym.jpg", "/etc/passwd"),
        "hard.jpg": link("hard.jpg", "../up.jpg", tarfile.LNKTYPE),
        "a#b%23 1+2.jpg": b"odd",
        "bl\udce4ue.jpg": b"latin 1",
        "@7.jpg": b"at",
        f"{'long' * 60}.jpg": b"long",
        ".hidden.jpg": b"hidden",
        "sparse.jpg": sparse,
        "folder": link("folder", "", tarfile.DIRTYPE),
        "up.jpg": b"first",
    }
    content = tar_bytes(members, tarfile.GNU_FORMAT)
    path.write_bytes(content[: -tarfile.RECORDSIZE] if content[-tarfile.RECORDSIZE :].strip(b"\0") == b"" else content)
    found = {name_of(uri): uri for uri in listed(path).image_uris}
    contents = {name: read([uri])[0] for name, uri in found.items()}
    assert {name: content for name, content in contents.items() if isinstance(content, bytes)} == {
        name: content for name, content in members.items() if isinstance(content, bytes) and name != ".hidden.jpg"
    }
    for name in ("sym.jpg", "hard.jpg", "sparse.jpg"):
        assert "is a link, a device or sparse" in contents[name]
        assert "is a link, a device or sparse" in read([without_place(found[name])])[0]


def name_of(uri: str) -> str:
    member = member_of(uri)
    assert member is not None
    return member.name


def test_of_two_members_with_one_name_the_later_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    one, other = tar_bytes({"a.jpg": b"old"}), tar_bytes({"a.jpg": b"new"})
    path.write_bytes(one[:1024] + other)
    assert read(listed(path).image_uris) == [b"new"]


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(gzip.compress(tar_bytes({"a.jpg": b"a"})))
    (tmp_path / "b.tar").write_bytes(b"")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 but no more")
    (tmp_path / "d.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(SettingsError, match="compressed with gzip"):
        listed(tmp_path / "a.tar")
    with pytest.raises(SettingsError, match="it is empty"):
        listed(tmp_path / "b.tar")
    with pytest.raises(SettingsError, match=r"no archive can be read: .*no message where one should be"):
        listed(tmp_path / "d.arrow")
    with pytest.raises(SettingsError, match=r"a\.tar\.gz is compressed.*Unpack it"):
        listed(tmp_path / "a.tar.gz")
    with pytest.raises(SettingsError, match="runs backwards"):
        listed(tmp_path / "{9..2}.tar")
    with pytest.raises(SettingsError, match="No such file"):
        listed(tmp_path / "{1..3}.tar")
    # Beside one that can be read each of them is a row.
    (tmp_path / "e.tar").write_bytes(tar_bytes({"a.jpg": b"a"}))
    found = listed(tmp_path / "{a,b,e,f}.tar").image_uris
    assert [broken(uri) for uri in found] == [0, 0, None, 0]
    assert "FileNotFoundError" in type(read_many([found[-1]])[0]).__name__
    found = listed(tmp_path).image_uris
    assert sum(broken(uri) == 0 for uri in found) == 4
    assert all(isinstance(content, Exception) for content in read_many([uri for uri in found if broken(uri) == 0]))


def test_a_tar_that_has_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes({"a.jpg": b"a" * 900, "b.jpg": b"b" * 900}))
    found = listed(path).image_uris
    path.write_bytes(tar_bytes({"a.jpg": b"a" * 900, "c.txt": b"", "b.jpg": b"b" * 900}))
    assert read(found)[0] == b"a" * 900
    assert "has changed since it was listed" in read(found)[1]


def test_cells_without_bytes_are_errors_of_their_rows(tmp_path: Path) -> None:
    table = image_table([b"a", None, b"c"])
    for path in (write_parquet(table, tmp_path / "a.parquet"), save_to_disk(table, tmp_path / "saved")):
        contents = read(listed(path).image_uris)
        assert (contents[0], contents[2]) == (b"a", b"c")
        assert "no bytes" in contents[1]
        assert "There is no" in read([f"{path}#image/3"])[0].capitalize() or "no row 3" in read([f"{path}#image/3"])[0]


def test_an_arrow_file_that_ends_early_keeps_its_whole_batches(tmp_path: Path) -> None:
    path = save_to_disk(image_table(CONTENTS), tmp_path / "saved", 3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found = listed(path).image_uris
    assert 3 <= len(found) - 1 < 10
    assert (len(found) - 1) % 3 == 0
    assert read(found[:-1]) == CONTENTS[: len(found) - 1]
    assert f"cannot be read from byte {broken(found[-1])} on: it ends within a batch" in read(found[-1:])[0]
    compressed = tmp_path / "b.arrow"
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        compressed.open("wb") as file,
        pa.ipc.new_stream(file, image_table(CONTENTS).schema, options=options) as writer,
    ):
        writer.write_table(image_table(CONTENTS))
    with pytest.raises(SettingsError, match="compressed: save it without"):
        listed(compressed)


def test_large_types_and_the_file_format_of_arrow(tmp_path: Path) -> None:
    kind = pa.struct([("path", pa.large_string()), ("bytes", pa.large_binary())])
    cells = pa.array([{"path": None, "bytes": content} for content in CONTENTS], kind)
    table = pa.table({"word": pa.array(["a"] * 10).dictionary_encode(), "none": pa.nulls(10), "image": cells})
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table.slice(2), max_chunksize=3)
    assert read(listed(path).image_uris) == CONTENTS[2:]


@example(176998174, "parquet")
@given(st.integers(0, 2**32), st.sampled_from(["tar", "arrow", "parquet"]))
@settings(max_examples=60)
def test_whatever_lies_in_an_archive_ends_in_rows_or_a_sentence(seed: int, kind: str) -> None:
    generator = np.random.default_rng(seed)
    content = bytearray(_whole(kind))
    for _ in range(generator.integers(1, 6)):
        place = int(generator.integers(len(content)))
        if generator.random() < 0.3:
            del content[place : place + int(generator.integers(1, 2000))]
        else:
            content[place : place + 4] = struct.pack("<i", int(generator.integers(-(2**31), 2**31)))
    uri = f"memory://fuzz/{seed}.{kind}"
    storage.write_bytes(uri, bytes(content))
    try:
        found = listed(uri)
    except SettingsError:
        return
    for one in read_many([*found.image_uris, *(uri for uri in found.mask_uris if uri)]):
        assert isinstance(one, bytes | OSError | ArchiveError), one


_made: dict[str, bytes] = {}


def _whole(kind: str) -> bytes:
    if not _made:
        import tempfile

        for make in (_tar, _parquet, _arrow):
            with tempfile.TemporaryDirectory() as folder:
                path = make(Path(folder))
                _made[path.rsplit(".", 1)[-1]] = Path(path).read_bytes()
    return _made[kind]


def test_members_keep_odd_names() -> None:
    for name in ("a#1.jpg", "@5", "%41.jpg", "é\udcff.jpg", "a\nb.jpg", "x.jpg#1+2"):
        for member in (
            Member("s3://b/a.tar", name),
            Member("s3://b/a.tar", name, 5, 6),
            Member("s3://b/a.tar", name, fault_at=9),
        ):
            assert member_of(member.placed) == member
            assert "\n" not in member.uri


def test_archives_in_a_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    s3_server.make_bucket("archives")
    for number in range(2):
        storage.write_bytes(f"s3://archives/{number:05d}.tar", tar_bytes(webdataset(CONTENTS, MASKS)))
    storage.write_bytes("s3://archives/part.parquet", Path(_parquet(tmp_path)).read_bytes())
    storage.write_bytes("s3://archives/data.arrow", Path(_arrow(tmp_path)).read_bytes())
    found = listed("s3://archives/{00000..00001}.tar").image_uris
    assert without_place(found[3]) == "s3://archives/00000.tar#000000003.jpg"
    assert read(found) == CONTENTS * 2
    everything = listed("s3://archives/").image_uris
    assert read([without_place(uri) for uri in everything]) == CONTENTS * 4
    gone = listed("s3://archives/{00001..00002}.tar").image_uris
    assert broken(gone[-1]) == 0
    assert isinstance(read_many(gone[-1:])[0], FileNotFoundError)
    with pytest.raises(SettingsError, match="no such bucket"):
        listed("s3://no-such-archives/{1..3}.tar")
