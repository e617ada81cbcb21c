"""The decoder's process: what a file does to it costs that file alone."""

import os
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from jobs.decoding.files import DecodeSettings, decode_image_file, decode_mask_file
from jobs.decoding.process import Decoder
from jobs.inputs.manifest import SCHEMA
from jobs.pipeline.prepare import PrepareStep
from jobs.settings import SaliencySettings
from tests.support.image_files import GRADIENT, GREY, exif, save

SETTINGS = DecodeSettings(max_pixels=10_000_000, working_size=40, input_size=16)

# What damaged files make of decoders, done to files of certain sizes: 101 pixels wide crashes, and so on. It is put
# into the decoder's process by Python's own hook, so that the job knows nothing of it.
BAD_DECODER = """
import os, signal, sys, time

if "jobs.decoding.process" in sys.orig_argv:
    from PIL import PngImagePlugin

    load = PngImagePlugin.PngImageFile.load

    def bad_load(image):
        width = image.size[0]
        if width == 101:
            os.kill(os.getpid(), signal.SIGSEGV)
        elif width == 102:
            os._exit(3)
        elif width == 103:
            while True:
                time.sleep(1)
        elif width == 107:
            while True:
                pass
        elif width == 104:
            bytearray(10**12)
        elif width == 105 and not os.path.exists(os.environ["HOME"] + "/was here"):
            open(os.environ["HOME"] + "/was here", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        elif width == 106:
            print("noise of a library", flush=True)
        return load(image)

    PngImagePlugin.PngImageFile.load = bad_load
"""


@pytest.fixture
def bad_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoder]:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(textwrap.dedent(BAD_DECODER))
    monkeypatch.syspath_prepend(str(tmp_path / "hook"))
    monkeypatch.setenv("HOME", str(tmp_path))
    decoder = Decoder(replace(SETTINGS, seconds=0.5))
    yield decoder
    decoder.close()


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(SETTINGS)
    yield decoder
    decoder.close()


def picture(width: int) -> bytes:
    return save(np.full((30, width, 3), 90, np.uint8), "PNG")


def test_the_process_gives_what_the_function_gives(decoder: Decoder) -> None:
    files = [save(GRADIENT, "PNG"), save(GRADIENT, "JPEG", exif=exif(6)), b"", b"no image", save(GRADIENT, "PNG")[:90]]
    for content in files:
        known = decode_image_file(content, SETTINGS, {})
        assert decoder.image(content) == known
        if known["status"] == "ok":
            for mask in (save(GREY, "PNG"), save(GREY[:5], "PNG"), b"no mask"):
                assert decoder.mask(mask, known) == decode_mask_file(mask, SETTINGS, known)


@pytest.mark.parametrize(
    ("width", "reason"),
    [
        (101, "crashed (SIGSEGV)"),
        (102, "crashed (exit code 3)"),
        (103, "took longer than 0.5 s"),
        (104, "MemoryError"),
        (107, "took longer than 0.5 s"),
    ],
)
def test_a_file_that_ends_the_decoder_costs_itself_alone(bad_decoder: Decoder, width: int, reason: str) -> None:
    assert bad_decoder.image(picture(30))["status"] == "ok"
    found = bad_decoder.image(picture(width))
    assert found["status"] == "decode_error"
    assert reason in found["error"]
    good = bad_decoder.image(picture(31))
    assert (good["status"], good["width"]) == ("ok", 31)
    mask = bad_decoder.mask(picture(width), good)
    assert mask["status"] == "mask_error"
    assert reason in mask["error"]


def test_a_decoder_killed_from_outside_is_replaced(bad_decoder: Decoder) -> None:
    assert bad_decoder.image(picture(105))["status"] == "ok"


def test_what_a_library_prints_is_no_answer(bad_decoder: Decoder) -> None:
    assert bad_decoder.image(picture(106))["width"] == 106


def test_neighbours_in_a_shard_live(bad_decoder: Decoder, tmp_path: Path) -> None:
    widths = [30, 101, 31, 102, 32]
    for width in widths:
        (tmp_path / f"{width}.png").write_bytes(picture(width))
    rows = [
        {"image_id": width, "image_uri": str(tmp_path / f"{width}.png"), "mask_uri": None, "label": -1}
        for width in widths
    ]
    step = PrepareStep(SaliencySettings(images="x", output="y", method="low-level"), None)
    step.decoder = bad_decoder
    prepared = step(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert prepared["status"].to_pylist() == ["ok", "decode_error", "ok", "decode_error", "ok"]
    assert prepared["image_id"].to_pylist() == widths


def test_no_credentials_reach_the_decoder(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    decoder.image(b"")
    assert decoder._process is not None
    environment = psutil.Process(decoder._process.pid).environ()
    assert not [name for name in environment if "AWS" in name or "KEY" in name]


def test_memory_of_the_decoder_is_bounded_and_it_goes_first(decoder: Decoder) -> None:
    import resource

    decoder.image(b"")
    assert decoder._process is not None
    limit = 2**30 + 48 * SETTINGS.max_pixels
    assert psutil.Process(decoder._process.pid).rlimit(resource.RLIMIT_DATA) == (limit, limit)
    assert Path(f"/proc/{decoder._process.pid}/oom_score_adj").read_text() == "1000\n"


def test_the_decoder_ends_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = Decoder(SETTINGS)
        child.image(b"")
        assert child._process is not None
        os.write(writer, str(child._process.pid).encode())
        os._exit(0)
    os.waitpid(parent, 0)
    process = psutil.Process(int(os.read(reader, 20)))
    os.close(reader)
    os.close(writer)
    psutil.wait_procs([process], timeout=10)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_files_longer_than_any_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.pipeline import prepare

    monkeypatch.setattr(prepare, "FIRST_BYTES", 200)
    monkeypatch.setattr(prepare, "MOST_BYTES", 50_000)
    (tmp_path / "a.bmp").write_bytes(save(GRADIENT, "BMP"))  # read in two steps
    (tmp_path / "b.bmp").write_bytes(save(GRADIENT, "BMP") + bytes(50_000))
    uris = [str(tmp_path / name) for name in ("a.bmp", "b.bmp")]
    rows = [{"image_id": i, "image_uri": uri, "mask_uri": None, "label": -1} for i, uri in enumerate(uris)]
    step = PrepareStep(SaliencySettings(images="x", output="y", method="low-level"), None)
    prepared = step(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert prepared["status"].to_pylist() == ["ok", "too_large"]
    assert "more than 50000 bytes" in prepared["error"][1].as_py()
