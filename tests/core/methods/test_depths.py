"""Where networks of all kinds are read, and what is read there."""

import numpy as np
import pytest
import torch
from torch import nn

from saliency_core.methods.clamped_erasure import erase
from saliency_core.methods.depths import (
    Depth,
    DepthReader,
    depths_of,
    feature_depths,
    layer_evidence,
    on_grid,
    packed,
    unit_features,
)
from saliency_core.methods.gradient import input_gradient
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.placement import place
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.parameters import ONE_VIEW, ErasureParameters, ViewParameters
from tests.support.small_networks import classifier_of, convolutional, random_images

DEPTHS = ViewParameters(depths=True)


def named(classifier: Classifier) -> list[tuple[str, int]]:
    return [(depth.module, depth.side) for depth in depths_of(classifier)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("squeezenet1_1", [("features.5", 55), ("features.8", 27), ("classifier.1", 13)]),
        ("resnet18", [("layer2.0", 56), ("layer3.0", 28), ("layer4.0", 14), ("avgpool", 7)]),
        ("mobilenet_v3_small", [("features.2", 56), ("features.4", 28), ("features.9", 14), ("avgpool", 7)]),
        ("shufflenet_v2_x0_5", [("stage2.0", 56), ("stage3.0", 28), ("stage4.0", 14), ("conv5.2", 7)]),
        ("swin_t", [("features.2", 56), ("features.4", 28), ("features.6", 14), ("avgpool", 7)]),
        ("demo.tiny_vgg:TinyVGG", [("features.14", 24), ("features.21", 12), ("avgpool", 6)]),
    ],
)
def test_the_last_values_before_each_halving_are_found(name: str, expected: list[tuple[str, int]]) -> None:
    classifier = load_classifier(name, "random", num_classes=7)
    assert named(classifier) == expected
    sides = [side for _, side in expected]
    size = classifier.preprocessing.input_size
    fine, deep = feature_depths(depths_of(classifier), size)
    assert sides[fine] in (size // 8, size // 8 - 1)
    assert sides[deep] in (size // 16, size // 16 - 1)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return tokens + self.mlp(tokens)


class _Transformer(nn.Module):
    """In the layout of timm's vision transformers, with register tokens as DINOv2 has them."""

    def __init__(self, patch: int, prefix: int, blocks: int = 6, width: int = 8) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, patch, patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.head(self.blocks(tokens)[:, 0])


@pytest.mark.parametrize("prefix", [1, 5])
def test_a_transformers_tokens_are_read_on_their_grid(prefix: int) -> None:
    torch.manual_seed(0)
    network = _Transformer(14, prefix).eval().requires_grad_(False)
    names = tuple(f"class {i}" for i in range(5))
    classifier = Classifier("transformer", network, Preprocessing(input_size=84), names, "random", "")
    depths = depths_of(classifier)
    assert [(depth.module, depth.side, depth.layout) for depth in depths] == [
        ("blocks.2", 6, "tokens"),
        ("blocks.4", 6, "tokens"),
        ("blocks.5", 6, "tokens"),
    ]
    values = torch.arange(prefix + 36).float()[None, :, None]
    np.testing.assert_array_equal(on_grid(values, depths[0])[0, 0], prefix + np.arange(36.0).reshape(6, 6))
    found = erase(classifier, random_images(0, 2, 84), None, ErasureParameters(iterations=2), DEPTHS)
    assert [layer.shape for layer in found.evidence] == [(2, 6, 6)] * 3
    assert all(layer.max() == 1.0 for layer in found.evidence)  # also before the last block gradients arrive
    assert [part.codes.shape for part in found.features] == [(2, 6, 6, 8)] * 2


def test_torchvisions_transformer_is_read() -> None:
    classifier = load_classifier("vit_b_16", "random")
    assert named(classifier) == [(f"encoder.layers.encoder_layer_{block}", 14) for block in (4, 8, 11)]


def test_a_network_without_depths_has_no_evidence_of_layers() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval().requires_grad_(False)
    classifier = classifier_of(network, size=8)
    assert depths_of(classifier) == ()
    found = erase(classifier, random_images(0, 2, 8), None, ErasureParameters(iterations=1), DEPTHS)
    assert found.evidence == found.features == ()


@pytest.mark.parametrize("name", ["squeezenet1_1", "demo.tiny_vgg:TinyVGG"])
def test_layers_that_were_swapped_for_speed_are_read_the_same(name: str) -> None:
    plain = load_classifier(name, "random", num_classes=5, input_size=64)
    images = random_images(1, 2, 64)
    parameters = ErasureParameters(epsilon=10.0, iterations=2)
    expected = erase(plain, images, None, parameters, DEPTHS)
    found = erase(
        place(load_classifier(name, "random", num_classes=5, input_size=64), "cpu"), images, None, parameters, DEPTHS
    )
    # The same object, placed later, is looked at afresh.
    again = erase(place(plain, "cpu"), images, None, parameters, DEPTHS)
    for one in (found, again):
        assert len(one.evidence) == len(expected.evidence) > 1
        for layer, other in zip(one.evidence, expected.evidence, strict=True):
            # Where rounding decides which of two pixels is the larger, single cells differ.
            assert np.abs(layer.astype(float) - other.astype(float)).mean() < 1e-3
        for part, wanted in zip(one.features, expected.features, strict=True):
            assert np.abs(part.codes.astype(float) - wanted.codes.astype(float)).max() <= 1.0


def test_evidence_is_layercam_summed_over_the_steps() -> None:
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3),
    )  # fmt: skip
    classifier = classifier_of(network.eval().requires_grad_(False), size=32)
    assert named(classifier) == [("2", 8), ("5", 4)]
    parameters = ErasureParameters(epsilon=0.5, gamma=0.01, iterations=3)
    image = random_images(5, 1, 32)
    found = erase(classifier, image, None, parameters, DEPTHS)
    network.double()
    pixels = torch.from_numpy(image[0]).double().permute(2, 0, 1)[None] / 255
    mean, std = (
        torch.tensor(v).double().view(1, 3, 1, 1) for v in (classifier.preprocessing.mean, classifier.preprocessing.std)
    )
    original = (pixels - mean) / std
    change = torch.zeros_like(original)
    sums = [torch.zeros(8, 8).double(), torch.zeros(4, 4).double()]
    for step in range(3):
        current = (original - change).requires_grad_(True)
        first = network[1](network[0](current))
        second = network[4](network[3](network[2](first)))
        logits = network[7](network[6](network[5](second)))[0]
        if step == 0:
            before, label = logits.detach(), int(logits.argmax())
        others = torch.arange(3) != label
        cost = logits[label] + 0.01 * ((logits - before)[others] ** 2).sum()
        slopes = torch.autograd.grad(cost, [current, first, second])
        change = change + 0.5 * slopes[0].clamp_min(0)
        for total, values, slope in zip(sums, (first, second), slopes[1:], strict=True):
            total += (slope.clamp_min(0) * values.detach())[0].sum(dim=0)
    for layer, total in zip(found.evidence, sums, strict=True):
        assert total.max() > 0
        np.testing.assert_allclose(layer[0].astype(float), (total / total.max()).numpy(), atol=2e-3)


def test_reading_depths_changes_nothing_else() -> None:
    classifier, images = classifier_of(convolutional(0)), random_images(2, 3)
    parameters = ErasureParameters(iterations=3)
    plain, read = (erase(classifier, images, None, parameters, views) for views in (ONE_VIEW, DEPTHS))
    for name in ("raw", "label", "probability", "logit_before", "logit_after", "drift"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(read, name))
    assert plain.evidence == ()


def test_the_gradient_reads_depths_too() -> None:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    found = input_gradient(classifier, random_images(0, 2, 64), None, DEPTHS)
    assert [layer.shape for layer in found.evidence] == [(2, 15, 15), (2, 7, 7), (2, 3, 3)]


def test_features_have_unit_length_and_survive_eight_bits() -> None:
    depth = Depth("x", True, 6, "channels_first")
    values = torch.randn(2, 5, 6, 6)
    values[0, :, 0, 0] = 0.0
    unit = unit_features(values, depth)
    lengths = unit.norm(dim=3)
    assert lengths[0, 0, 0] == 0.0
    np.testing.assert_allclose(lengths.flatten()[1:], 1.0, rtol=1e-5)
    codes, scale = packed(unit)
    decoded = scale[:, 0].view(2, 1, 1, 1) + scale[:, 1].view(2, 1, 1, 1) * codes.float()
    np.testing.assert_allclose(decoded, unit, atol=float(scale[:, 1].max()) * 0.51)
    positive = unit_features(values, Depth("x", True, 6, "channels_first", rectified=True))
    assert (positive >= 0).all()
    assert layer_evidence(values, -values, depth).abs().max() == 0


def test_hooks_do_not_stay() -> None:
    classifier = load_classifier("squeezenet1_1", "random", num_classes=5, input_size=64)
    with pytest.raises(RuntimeError), DepthReader(classifier.network, depths_of(classifier)).reading():
        classifier.network(torch.zeros(1, 4, 64, 64))
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in classifier.network.modules())
