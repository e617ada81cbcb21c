"""Names of networks that are known without torchvision."""

import torchvision.models

from saliency_core.networks.torchvision_names import available_networks


def test_the_names_are_those_that_torchvision_lists() -> None:
    assert list(available_networks()) == sorted(torchvision.models.list_models(module=torchvision.models))
