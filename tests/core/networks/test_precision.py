"""Settings of the process that a pass makes, and leaves as they were."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from saliency_core.methods.clamped_erasure import erase
from saliency_core.networks.precision import arithmetic_of
from tests.support.small_networks import classifier_of, convolutional, random_images

BACKENDS: Any = torch.backends


def settings() -> tuple[Any, ...]:
    """All that says how float32 numbers are multiplied, by torch's new way and by its old one."""
    new = [BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv]
    old = (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32, torch.get_float32_matmul_precision())
    return (*(backend.fp32_precision for backend in new), *old)


@pytest.fixture(params=["highest", "high"])
def process(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("process")
@pytest.mark.parametrize(("precision", "kind"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_arithmetic_holds_inside_only(precision: Any, kind: str) -> None:
    before = settings()
    with arithmetic_of(precision):
        inside = settings()
        assert set(inside[:5]) == {kind}
        # torch's old getters raise where the two ways disagree.
        assert inside[5:] == ((True, True, "high") if kind == "tf32" else (False, False, "highest"))
    assert settings() == before


@pytest.mark.usefixtures("process")
def test_arithmetic_ends_with_an_error() -> None:
    before = settings()
    with pytest.raises(KeyError), arithmetic_of("tf32"):
        raise KeyError
    assert settings() == before


@pytest.mark.usefixtures("process")
def test_a_pass_is_float32_whatever_the_process_says_and_leaves_that_alone() -> None:
    seen: list[tuple[Any, ...]] = []

    class Noting(nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            seen.append(settings())
            return values

    classifier = classifier_of(nn.Sequential(Noting(), convolutional(0)))
    seen.clear()
    before = settings()
    found = erase(classifier, random_images(0, 1))
    assert np.isfinite(found.raw).all()
    assert settings() == before
    assert {kind for inside in seen for kind in inside[:5]} == {"ieee"}


def test_settings_that_disagree_outside_do_no_harm() -> None:
    value = BACKENDS.cudnn.conv.fp32_precision
    BACKENDS.cudnn.conv.fp32_precision = "ieee"
    try:
        with pytest.raises(RuntimeError):
            _ = BACKENDS.cudnn.allow_tf32
        erase(classifier_of(convolutional(0)), random_images(0, 1))
        assert BACKENDS.cudnn.conv.fp32_precision == "ieee"
    finally:
        BACKENDS.cudnn.conv.fp32_precision = value
