"""torchvision's classification networks."""

import pickle
from collections.abc import Mapping
from functools import cache

import torch
from torch import nn

from saliency_core.errors import ClassifierError
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.torchvision_names import check_torchvision_name
from saliency_core.networks.without_dynamo import without_dynamo
from saliency_core.networks.zoo import Zoo

with without_dynamo():
    import torchvision.models

_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")
"""Their auxiliary heads serve training only."""


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes in their usual order."""
    return tuple(torchvision.models.get_model_weights("vgg16").DEFAULT.meta["categories"])


def _build(name: str, num_classes: int) -> nn.Module:
    options: dict[str, object] = {}
    if name in _WITH_AUXILIARY_HEADS:
        # torchvision's weights expect the networks' own input transform.
        options = {"aux_logits": False, "transform_input": True, "init_weights": False}
    elif name == "vit_h_14":
        options = {"image_size": 518}  # the size of its only weights
    return torchvision.models.get_model(name, weights=None, num_classes=num_classes, **options)


def _pretrained(name: str) -> tuple[nn.Module, str]:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        network = torchvision.models.get_model(name, weights=weights, progress=False)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ClassifierError(
            f"torchvision's pretrained weights of {name} could not be loaded ({error}): check the network "
            f"connection, delete a damaged file in {torch.hub.get_dir()}/checkpoints, or give a local weights file"
        ) from error
    return network, f"torchvision {weights}"


def _preprocessing(name: str) -> Preprocessing:
    transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return Preprocessing(transforms.crop_size[0], tuple(transforms.mean), tuple(transforms.std))


def _without_auxiliary_heads(name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    dropped = "aux" if name in _WITH_AUXILIARY_HEADS else None
    return {key: value for key, value in tensors.items() if dropped is None or not key.lower().startswith(dropped)}


TORCHVISION = Zoo(check_torchvision_name, _build, _pretrained, _preprocessing, lambda _: 1000, _without_auxiliary_heads)
