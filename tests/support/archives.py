"""Archives for the tests: tars, and files as Hugging Face's ``datasets`` writes them, made with pyarrow."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ENCODED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def tar_bytes(members: Mapping[str, bytes | tarfile.TarInfo], format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def image_table(images: Sequence[bytes | None], masks: Sequence[bytes | None] | None = None) -> pa.Table:
    """A table as ``datasets`` makes of a set of images: columns before the images' as well as behind."""

    def column(contents: Sequence[bytes | None]) -> pa.Array:
        cells = [
            None if content is None else {"bytes": content, "path": f"{i}.png"} for i, content in enumerate(contents)
        ]
        return pa.array(cells, ENCODED)

    columns: dict[str, Any] = {
        "caption": pa.array([f"image {index}" for index in range(len(images))]),
        "boxes": pa.array([[[1.0, 2.0]] * (index % 3) for index in range(len(images))]),
        "image": column(images),
        "label": pa.array(range(len(images)), pa.int64()),
    }
    if masks is not None:
        columns["mask"] = column(masks)
    features: dict[str, Any] = {name: {"_type": "Image"} for name in ("image", "mask") if name in columns}
    return pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save_to_disk(table: pa.Table, folder: Path, rows_per_batch: int = 100) -> Path:
    """Write a table in the layout of ``datasets.Dataset.save_to_disk``; return the Arrow file."""
    folder.mkdir(parents=True)
    path = folder / "data-00000-of-00001.arrow"
    with path.open("wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_per_batch)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": path.name}], "_split": "train"}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {"image": {"_type": "Image"}}}))
    return path


def write_parquet(table: pa.Table, path: Path, rows_per_group: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path
