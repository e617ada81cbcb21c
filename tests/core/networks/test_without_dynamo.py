"""torchvision is imported without torch's compiler, which works all the same."""

import subprocess
import sys

SCRIPT = """
import sys
import torch
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.weights import Weights
random = load_classifier("squeezenet1_1", "random")
load_classifier("squeezenet1_1", Weights(dict(random.network.state_dict()), {}))
assert "torch._dynamo" not in sys.modules and "sympy" not in sys.modules
users = sys.modules["torchvision.ops.roi_align"]
assert users.is_compile_supported("cpu") in (True, False)
from torch._dynamo.utils import is_compile_supported
import torch._dynamo
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.__file__
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(2)).tolist() == [2.0, 2.0]
"""


def test_the_compiler_is_loaded_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
