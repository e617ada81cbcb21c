"""How many images the network takes at a time."""

import pytest
import torch

from jobs.pipeline.batch_size import MOST_IMAGES, images_on_a_cpu, images_that_fit
from saliency_core.networks.classifier import load_classifier
from saliency_core.networks.placement import place


@pytest.mark.parametrize(
    ("free", "of_two", "of_four", "expected"),
    [
        (10_000_000, 1, 1, MOST_IMAGES),
        (100_000, 2_000, 4_000, 80),
        (100_000, 12_000, 14_000, 64),
        (1_000, 2_000, 4_000, 1),
        (5_000, 2_000, 4_000, 4),
    ],
)
def test_batch_size_from_free_memory(free: int, of_two: int, of_four: int, expected: int) -> None:
    assert images_that_fit(free, of_two, of_four) == expected


@pytest.mark.parametrize(("name", "images"), [("squeezenet1_1", 16), ("vgg16", 8), ("demo.tiny_vgg:TinyVGG", 16)])
def test_a_cpu_takes_fewer_images_of_a_network_that_keeps_much(name: str, images: int) -> None:
    classifier = place(load_classifier(name, "random"), torch.device("cpu"))
    assert images_on_a_cpu(classifier) == images
