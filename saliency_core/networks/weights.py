"""Weights of networks: reading, writing and telling them apart, never running code from a file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from saliency_core.errors import ClassifierError

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors of a network as read from a file, with what the file says about them.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The state dict.
    metadata : mapping of str to str
        A safetensors file's metadata (``class_names``, ``input_size``, ``mean``, ``std`` as JSON are used).
    """

    tensors: StateDict
    metadata: Mapping[str, str]


def read_weights(path: str | Path) -> Weights:
    """Read a state dict from a local file without ever running code from it.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, or a file written by ``torch.save`` that holds tensors only (it is read with
        ``weights_only=True``). ``{"state_dict": ...}`` and ``{"model": ...}`` are unwrapped, and the prefix
        ``module.`` that DistributedDataParallel leaves is taken off.

    Returns
    -------
    Weights

    Raises
    ------
    ClassifierError
        If the file is missing, broken, or holds anything else than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ClassifierError(f"there is no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
            content: object = safetensors.torch.load_file(path)
        else:
            metadata = {}
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen unrelated types for a broken file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ClassifierError(
            f"the weights in {path.name} cannot be read ({reason}); "
            "give a .safetensors file or a state dict of tensors only"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise ClassifierError(f"{path.name} holds no state dict: expected a mapping of names to tensors")
    if not all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()):
        raise ClassifierError(f"{path.name} holds other things than named tensors: save the state dict alone")
    return Weights({name.removeprefix("module."): value for name, value in content.items()}, metadata)


def weights_checksum(tensors: StateDict) -> str:
    """Return the SHA-256 hex digest over the names, shapes, types and values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def to_safetensors(tensors: StateDict, metadata: Mapping[str, str]) -> bytes:
    """Return a state dict as a safetensors file that brings all that is needed to use it."""
    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    return safetensors.torch.save(whole, dict(metadata))
