import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from saliency_core.errors import ArgumentError
from saliency_core.parameters import (
    ErasureParameters,
    LowLevelParameters,
    RefinementParameters,
    SuperpixelParameters,
)


@pytest.mark.parametrize(
    ("kind", "name", "value", "sentence"),
    [
        (ErasureParameters, "epsilon", 0.0, "epsilon must be finite and above 0, not 0.0"),
        (ErasureParameters, "epsilon", np.nan, "epsilon must be finite and above 0, not nan"),
        (ErasureParameters, "epsilon", np.inf, "epsilon must be finite and above 0, not inf"),
        (ErasureParameters, "epsilon", "0.1", "epsilon must be a number, not '0.1'"),
        (ErasureParameters, "epsilon", None, "epsilon must be a number, not None"),
        (ErasureParameters, "gamma", -1e-9, "gamma must be finite and 0 or more, not -1e-09"),
        (ErasureParameters, "iterations", 0, "iterations must be 1 or more, not 0"),
        (ErasureParameters, "iterations", 2.5, "iterations must be a whole number, not 2.5"),
        (ErasureParameters, "iterations", True, "iterations must be a whole number, not True"),
        (SuperpixelParameters, "segments", 0, "segments must be 1 or more, not 0"),
        (SuperpixelParameters, "segments", 100.0, "segments must be a whole number, not 100.0"),
        (SuperpixelParameters, "compactness", 0, "compactness must be finite and above 0, not 0"),
        (SuperpixelParameters, "slic", "opencv", "slic must be one of compiled, scikit-image, not opencv"),
        (LowLevelParameters, "centre_falloff", -1, "centre_falloff must be finite and 0 or more, not -1"),
        (LowLevelParameters, "colour_sigma", 0, "colour_sigma must be finite and above 0, not 0"),
        (LowLevelParameters, "distribution_falloff", np.nan, "distribution_falloff must be finite and 0 or more"),
        (RefinementParameters, "theta", 1.0, r"theta must be in \[0, 1\), not 1.0"),
        (RefinementParameters, "theta_refined", -0.1, r"theta_refined must be in \[0, 1\), not -0.1"),
        (RefinementParameters, "alpha", 0.0, r"alpha must be in \(0, 1\), not 0.0"),
        (RefinementParameters, "alpha", 1.0, r"alpha must be in \(0, 1\), not 1.0"),
    ],
)
def test_wrong_values_get_one_sentence(kind: type, name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        kind(**{name: value})


def test_numbers_of_numpy_and_ends_of_the_intervals_are_taken() -> None:
    assert ErasureParameters(np.float32(0.5), 0, np.int64(3)).iterations == 3  # type: ignore[arg-type]
    assert RefinementParameters(theta=0, theta_refined=0.0).theta == 0
    assert LowLevelParameters(centre_falloff=0, distribution_falloff=0).centre_falloff == 0
    assert SuperpixelParameters(segments=1).segments == 1


def test_settings_need_neither_numpy_nor_torch() -> None:
    code = (
        "import sys, saliency_core.parameters, saliency_core.networks.options, saliency_core.networks.preprocessing;"
        "print(sorted({'numpy', 'torch', 'scipy', 'skimage', 'numba', 'ray', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_defaults_of_the_papers_chain_are_those_of_the_docs() -> None:
    assert (ErasureParameters().epsilon, ErasureParameters().gamma) == (0.1, 2e-3)
    assert SuperpixelParameters() == SuperpixelParameters(segments=100, compactness=10.0, slic="compiled")
    assert LowLevelParameters() == LowLevelParameters(centre_falloff=15, colour_sigma=20, distribution_falloff=0.75)
    assert RefinementParameters() == RefinementParameters(theta=0.05, alpha=0.1, theta_refined=0.1)
