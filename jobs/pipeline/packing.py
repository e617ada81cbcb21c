"""What whole objects need on its way from step to step, as bytes: superpixels of several sizes, and the layers' say.

Of a 400 x 300 photograph and SqueezeNet 1.1 at 224 pixels: 240 kB of labels a size, 8 kB of evidence and 273 kB of
features in 8 bits.
"""

import io

import numpy as np
from numpy.typing import NDArray

from saliency_core.methods.attribution import Features, ImageAttribution
from saliency_core.refining.stages import Coloured, Superpixels
from saliency_core.superpixels.regions import CELLS, Regions
from saliency_core.superpixels.statistics import LabelMap


def packed_sizes(superpixels: Superpixels) -> tuple[bytes, bytes]:
    """Return the labels, uint16, and the mean colours of every size but one: those that the refinement has anyway.

    Returns
    -------
    labels : bytes
        Of the sizes (k, H, W); nothing of a size whose labels are the superpixels' own.
    colours : bytes
        Of each size its number of superpixels, negative where the labels are the superpixels' own, then Lab (n, 3).
    """
    labels, colours = b"", b""
    for size in superpixels.sizes:
        is_own = size.labels is superpixels.labels
        labels += b"" if is_own else size.labels.astype(np.uint16).tobytes()
        colours += np.array([-len(size.lab) if is_own else len(size.lab)], np.int32).tobytes() + size.lab.tobytes()
    return labels, colours


def unpacked_sizes(labels: bytes | None, colours: bytes | None, own: LabelMap) -> tuple[Coloured, ...]:
    """Read what `packed_sizes` made; none where there is nothing."""
    if colours is None or labels is None:
        return ()
    maps = np.frombuffer(labels, np.uint16).reshape(-1, *own.shape)
    found: list[Coloured] = []
    place, map_ = 0, 0
    while place < len(colours):
        count = int(np.frombuffer(colours, np.int32, 1, place)[0])
        lab = np.frombuffer(colours, np.float32, 3 * abs(count), place + 4).reshape(-1, 3)
        found.append(Coloured(own if count < 0 else maps[map_].astype(np.int32), lab))
        map_ += count > 0
        place += 4 + lab.nbytes
    return tuple(found)


def packed_regions(superpixels: Superpixels) -> bytes:
    """Return an image's superpixels as a network needs them that looks at each by itself: some 20 kB."""
    regions = Regions.of(superpixels.labels)
    return regions.cells.tobytes() + regions.centres.tobytes()


def unpacked_regions(content: bytes | None) -> Regions:
    """Read what `packed_regions` made; no superpixels where there is nothing."""
    if content is None:
        return Regions.none()
    cells = np.frombuffer(content, np.uint16, CELLS * CELLS).reshape(CELLS, CELLS)
    centres = np.frombuffer(content, np.float32, offset=cells.nbytes).reshape(-1, 2)
    return Regions(centres.copy(), cells.copy())


def packed_depths(found: ImageAttribution) -> bytes:
    """Return the layers' evidence and features of one image."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([len(found.evidence), len(found.features)]))
    for values in (*found.evidence, *(array for part in found.features for array in (part.codes, part.scale))):
        np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def unpacked_depths(content: bytes | None) -> tuple[list[NDArray[np.float16]], list[Features]]:
    """Read what `packed_depths` made; none where there is nothing."""
    if content is None:
        return [], []
    buffer = io.BytesIO(content)
    layers, features = (int(count) for count in np.load(buffer, allow_pickle=False))
    evidence = [np.load(buffer, allow_pickle=False) for _ in range(layers)]
    codes = [(np.load(buffer, allow_pickle=False), np.load(buffer, allow_pickle=False)) for _ in range(features)]
    return evidence, [Features(*pair) for pair in codes]
