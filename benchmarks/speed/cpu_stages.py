"""Part b: every CPU stage alone, milliseconds an image on one core, beside what it replaced."""

import io
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import skimage.color
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.speed.timing import in_turn
from saliency_core.colour.lab import lab_planes
from saliency_core.imaging.decoding import decode_image
from saliency_core.imaging.png import decode_png_map, encode_png
from saliency_core.imaging.resizing import resize_longest_side, squash
from saliency_core.methods.low_level import low_level_saliency
from saliency_core.parameters import SaliencyParameters
from saliency_core.refining.stages import Superpixels, chain_of_maps
from saliency_core.scoring.histograms import image_scores, map_histograms, to_8bit
from saliency_core.superpixels.statistics import slic_superpixels


def measure(files: list[bytes], rounds: int) -> list[dict[str, Any]]:
    """Return a row a stage; those of the form "x: y" are other ways to do x."""
    cv2.setNumThreads(1)
    parameters = SaliencyParameters()
    images = [resize_longest_side(decode_image(data).pixels) for data in files]
    labs = [lab_planes(image) for image in images]
    labels = [slic_superpixels(image) for image in images]
    described = [
        Superpixels(of, low_level_saliency(image, of, lab=lab))
        for image, of, lab in zip(images, labels, labs, strict=True)
    ]
    noise = np.random.default_rng(0)
    raws = [gaussian_filter(noise.random((224, 224), np.float32) ** 4, 1.5) for _ in images]
    maps = [chain_of_maps(raw, of, parameters) for raw, of in zip(raws, described, strict=True)]
    levels = [to_8bit(map_) for of in maps for map_ in of.values()]
    masks = [of > of.mean() for of in levels]  # any object will do
    pngs = [encode_png(of) for of in levels]
    every = range(len(images))

    def score(index: int) -> Any:
        return image_scores(*map_histograms(levels[index], masks[index], masks[index] | True))

    def by_pillow(of: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(of).save(buffer, "PNG", compress_level=4)
        return buffer.getvalue()

    functions: dict[str, Callable[[], Any]] = {
        "decode": lambda: [decode_image(data) for data in files],
        "decode: OpenCV": lambda: [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in files],
        "squash": lambda: [squash(image, 224) for image in images],
        "Lab": lambda: [lab_planes(image) for image in images],
        "Lab: scikit-image": lambda: [skimage.color.rgb2lab(image) for image in images],
        "SLIC (with Lab)": lambda: [slic_superpixels(image) for image in images],
        "SLIC: scikit-image": lambda: [slic_superpixels(image, code="scikit-image") for image in images],
        "low-level (without Lab)": lambda: [low_level_saliency(images[i], labels[i], lab=labs[i]) for i in every],
        "maps": lambda: [chain_of_maps(raws[i], described[i], parameters) for i in every],
        "8 bits, 3 maps": lambda: [to_8bit(map_) for of in maps for map_ in of.values()],
        "score, 3 maps": lambda: [score(index) for index in range(len(levels))],
        "PNG, 3 maps": lambda: [encode_png(of) for of in levels],
        "PNG: Pillow, level 4": lambda: [by_pillow(of) for of in levels],
        "PNG decoding, 3 maps": lambda: [decode_png_map(data) for data in pngs],
    }
    best = in_turn(functions, rounds, time.process_time)
    return [
        {"stage": name, "milliseconds": 1000 * seconds / len(images), "images_per_second": len(images) / seconds}
        for name, seconds in best.items()
    ]
