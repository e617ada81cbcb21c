"""Tests that need more than Python: they skip where that is missing, and fail where it was promised."""

import os
from typing import NoReturn

import pytest

VARIABLE = "SALIENCY_MEANS"
"""Names the means that whoever starts the tests has found here, divided by blanks: CI sets it."""

MEANS = ("root", "namespaces", "chromium", "photographs", "children")


def skip_without(means: str, reason: str) -> NoReturn:
    """Skip the test that runs, or fail it where the environment promises what it lacks."""
    assert means in MEANS
    if means in os.environ.get(VARIABLE, "").split():
        pytest.fail(f"{VARIABLE} promises {means}, but {reason}")
    pytest.skip(reason)
