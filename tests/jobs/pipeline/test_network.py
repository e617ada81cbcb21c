"""The network step: passes of one size, compiling, memory that runs out."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from jobs.pipeline.network import NetworkStep
from jobs.pipeline.passes import NetworkPasses
from jobs.pipeline.tables import PREPARED
from saliency_core.methods.registry import METHODS, NetworkMethod
from saliency_core.networks.classifier import Classifier
from saliency_core.parameters import ONE_VIEW, ErasureParameters, SaliencyParameters
from tests.support.small_networks import classifier_of, convolutional, random_images

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
PARAMETERS = SaliencyParameters(ErasureParameters(iterations=3), views=ONE_VIEW)


def erasure() -> NetworkMethod:
    method = METHODS["clamped-erasure"]
    assert isinstance(method, NetworkMethod)
    return method


def small_step(method: NetworkMethod, **options: Any) -> NetworkStep:
    return NetworkStep(NetworkPasses(classifier_of(convolutional(0)), method, PARAMETERS, **options))


def noting(sizes: list[int]) -> NetworkMethod:
    """Return the erasure, which notes how many images each of its passes has."""
    good = erasure()

    def attribute(classifier: Classifier, images: Any, *rest: Any) -> Any:
        sizes.append(len(images))
        return good.attribute(classifier, images, *rest)

    return NetworkMethod("noting", attribute)


def prepared_rows(images: np.ndarray) -> pa.Table:
    rows = [
        {"image_id": index, "image_uri": str(index), "status": "ok", "wanted_label": -1, "input": image.tobytes()}
        for index, image in enumerate(images)
    ]
    return pa.Table.from_pylist(rows, schema=PREPARED)


def raw_maps(rows: pa.Table, size: int = 12) -> np.ndarray:
    assert set(rows["status"].to_pylist()) == {"ok"}
    return np.stack([np.frombuffer(raw, np.float32).reshape(size, size) for raw in rows["raw"].to_pylist()])


def test_a_batch_in_which_every_image_failed_is_passed_over() -> None:
    images = random_images(2, 6)
    rows = prepared_rows(images).to_pylist()
    for row in rows[:4]:
        row |= {"status": "decode_error", "error": "no image", "input": None}
    step = small_step(erasure(), batch_size=2)
    done = step(pa.Table.from_pylist(rows, schema=PREPARED))
    assert done["status"].to_pylist() == ["decode_error"] * 4 + ["ok"] * 2
    assert done["raw"].null_count == 4


def test_a_compiler_that_fails_leaves_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(torch, "compile", compile)
    step = small_step(erasure(), batch_size=2, compile=True)
    assert step.passes.warnings == ["torch.compile failed, the network runs uncompiled: RuntimeError: no compiler here"]
    assert set(step(prepared_rows(random_images(0, 3)))["status"].to_pylist()) == {"ok"}


def test_a_network_that_is_read_at_depths_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    passes = NetworkPasses(classifier_of(convolutional(0)), erasure(), SaliencyParameters(), compile=True)
    assert "whole objects read its layers" in passes.warnings[0]


def test_compiled_batches_are_filled_to_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    images = random_images(0, 5)
    step = small_step(noting(sizes), batch_size=4, compile=True)
    found = raw_maps(step(prepared_rows(images)))
    assert sizes == [4, 4]
    assert not step.passes.warnings
    expected = small_step(erasure(), batch_size=4)(prepared_rows(images))
    np.testing.assert_allclose(found, raw_maps(expected), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("most", "compile", "sizes"), [(64, True, [10]), (8, True, [5, 5]), (4, False, [4, 4, 2])])
def test_a_shard_is_done_in_passes_of_one_size(
    most: int, compile: bool, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    step = small_step(noting(seen), batch_size=most, compile=compile, rows_per_shard=10)
    assert set(step(prepared_rows(random_images(0, 10)))["status"].to_pylist()) == {"ok"}
    assert seen == sizes


def test_a_batch_that_does_not_fit_is_split_and_the_next_ones_are_smaller() -> None:
    sizes = []
    good = erasure()

    def attribute(classifier: Classifier, images: Any, *rest: Any) -> Any:
        sizes.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return good.attribute(classifier, images, *rest)

    images = random_images(4, 16)
    step = small_step(NetworkMethod("small", attribute), batch_size=10)
    found = raw_maps(step(prepared_rows(images)))
    assert sizes == [10, 5, 3, 2, 5, 3, 2, 3, 3]
    assert step.passes.batch_size == 3
    assert "memory ran out" in step.passes.warnings[-1]
    expected = small_step(good)(prepared_rows(images))
    np.testing.assert_allclose(found, raw_maps(expected), rtol=1e-4, atol=1e-7)


def test_an_image_that_never_fits_fails_alone() -> None:
    good = erasure()

    def attribute(classifier: Classifier, images: Any, *rest: Any) -> Any:
        if (images == 7).all(axis=(1, 2, 3)).any():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return good.attribute(classifier, images, *rest)

    images = random_images(4, 4)
    images[2] = 7
    step = small_step(NetworkMethod("small", attribute))
    rows = step(prepared_rows(images))
    assert rows["status"].to_pylist() == ["ok", "ok", "method_error", "ok"]
    assert "OutOfMemoryError" in rows["error"].to_pylist()[2]
