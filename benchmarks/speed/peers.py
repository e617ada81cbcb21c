"""Part d: other ways to a saliency map, on the same images and the same machine."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import skimage.segmentation
import torch
from skimage.color import rgb2lab

from benchmarks.speed.timing import in_turn
from saliency_core import Classifier, SaliencyParameters, saliency_batch
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.resizing import squash
from saliency_core.methods.region_contrast import region_contrast
from saliency_core.refining.refinement import prune_and_normalise


def straightforward(classifier: Classifier, data: bytes, parameters: SaliencyParameters) -> np.ndarray:
    """Do what a researcher would write down from the paper: one image at a time, plain PyTorch, scikit-image."""
    image = decode_image(data).pixels
    mean, std = (torch.tensor(of).view(3, 1, 1) for of in (classifier.preprocessing.mean, classifier.preprocessing.std))
    pixels = torch.from_numpy(squash(image, classifier.preprocessing.input_size)).permute(2, 0, 1).float() / 255
    device = next(classifier.network.parameters()).device
    start = ((pixels - mean) / std).unsqueeze(0).to(device)
    current = start.clone()
    first, label = None, 0
    for _ in range(parameters.erasure.iterations):
        current = current.detach().requires_grad_(True)
        logits = classifier.network(current)[0]
        if first is None:
            first, label = logits.detach(), int(logits.argmax())
        others = torch.arange(len(logits), device=device) != label
        cost = logits[label] + parameters.erasure.gamma * ((logits - first)[others] ** 2).sum()
        cost.backward()
        assert current.grad is not None
        current = current - parameters.erasure.epsilon * current.grad.clamp(min=0)
    change = ((start - current.detach())[0].cpu() * std).mean(dim=0).numpy()
    raw = prune_and_normalise(
        np.asarray(cv2.resize(change, image.shape[1::-1]), np.float32), parameters.refinement.theta
    )
    labels = skimage.segmentation.slic(image, n_segments=100, compactness=10, start_label=0)
    lab = rgb2lab(image)
    count = labels.max() + 1
    smoothed, colours, centres = np.zeros_like(raw), np.zeros((count, 3)), np.zeros((count, 2))
    for label in range(count):
        inside = labels == label
        smoothed[inside] = raw[inside].mean()
        colours[label] = lab[inside].mean(axis=0)
        centres[label] = np.argwhere(inside).mean(axis=0) / labels.shape
    distances = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    low_level = distances.sum(axis=1) * np.exp(
        -parameters.low_level.centre_falloff * ((centres - 0.5) ** 2).sum(axis=1)
    )
    low_level = (low_level - low_level.min()) / max(np.ptp(low_level), 1e-9)
    refined = smoothed * (low_level + parameters.refinement.alpha)[labels]
    return prune_and_normalise(refined, parameters.refinement.theta_refined)


def measure(classifier: Classifier, files: list[bytes], rounds: int) -> list[dict[str, Any]]:
    """Return a row a method: images per second, and how many times those of the straightforward loop."""
    parameters = SaliencyParameters()
    images = [decode_image(data).pixels for data in files]
    size = classifier.preprocessing.input_size
    device = next(classifier.network.parameters()).device
    inputs = (
        torch.from_numpy(np.stack([squash(image, size) for image in images])).permute(0, 3, 1, 2).float().to(device)
    )
    inputs = (inputs / 255 - 0.45) / 0.225
    functions: dict[str, Callable[[], Any]] = {
        "straightforward loop": lambda: [straightforward(classifier, data, parameters) for data in files],
        "this project, saliency_batch()": lambda: list(
            saliency_batch((decode_image(data).pixels for data in files), classifier)
        ),
        "this project, RC": lambda: [region_contrast(image) for image in images],
    }
    rows: list[dict[str, Any]] = []
    try:
        import captum.attr

        with torch.no_grad():
            targets = classifier.network(inputs).argmax(dim=1)
        gradient = captum.attr.Saliency(classifier.network)
        integrated = captum.attr.IntegratedGradients(classifier.network)
        functions["Captum Saliency"] = lambda: gradient.attribute(inputs.clone(), targets)
        functions["Captum IntegratedGradients, 10 steps"] = lambda: integrated.attribute(
            inputs.clone(), target=targets, n_steps=10, internal_batch_size=len(files)
        )
    except ImportError:
        rows.append({"method": "Captum: not installed (the optional dependencies `benchmarks` bring it)"})
    if hasattr(cv2, "saliency"):
        peers: Any = cv2.saliency  # OpenCV's type stubs leave its classes out
        fine, spectral = peers.StaticSaliencyFineGrained_create(), peers.StaticSaliencySpectralResidual_create()
        functions["OpenCV fine-grained"] = lambda: [fine.computeSaliency(image) for image in images]
        functions["OpenCV spectral residual"] = lambda: [spectral.computeSaliency(image) for image in images]
    else:
        rows.append({"method": "OpenCV saliency: not in this build (the optional dependencies `benchmarks` bring it)"})
    best = in_turn(functions, rounds)
    for name, seconds in best.items():
        rows.append(
            {
                "method": name,
                "images_per_second": len(files) / seconds,
                "times_the_straightforward_loop": best["straightforward loop"] / seconds,
            }
        )
    return rows
