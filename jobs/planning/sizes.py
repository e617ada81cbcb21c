"""Bytes of an image on its way through the pipeline: how many go together, and what a task asks of a node's memory."""

from jobs.settings import SaliencySettings
from saliency_core.methods.registry import METHODS, ImageMethod
from saliency_core.parameters import OBJECTS

SHAPE = 0.75
"""A photograph's short side as a part of the long one."""
_FEATURES = 270_000
"""Features of a network's layers in 8 bits, at an input of 224 pixels; they grow with its area."""

_ORIGINAL = 12_000_000
"""Pixels of a photograph as a camera takes it."""
_PNG = 4
"""Pixels of a map to a byte of its PNG, about."""


def bytes_of_an_image(settings: SaliencySettings, input_size: int | None) -> int:
    """Return the bytes of an image between the steps of the pipeline, without compression: about, for a photograph.

    With maps at original size those are counted in, which the last step holds of all images of a shard.

    Parameters
    ----------
    settings : SaliencySettings
    input_size : int, optional
        Side of the network's square input; None for a method without a network.

    Examples
    --------
    >>> small, large = (SaliencySettings(images="in", output="out", working_size=size) for size in (400, 4096))
    >>> bytes_of_an_image(small, 224) // 10**5, bytes_of_an_image(large, 224) // 10**5
    (14, 918)
    """
    area = int(SHAPE * settings.working_size**2)
    found = 2 * area // 8  # the mask, and where it holds
    if settings.map_size == "original":
        found += 2 * _ORIGINAL // 8 + len(settings.stages) * _ORIGINAL // _PNG
    method = METHODS[settings.method]
    if isinstance(method, ImageMethod):
        found += 4 * area * len(method.stages)
    else:
        size = (input_size or 0) ** 2
        found += 2 * area + 3 * size + 4 * size
        if OBJECTS in settings.stages:
            found += 2 * area * len(settings.objects.object_segments)
            found += _FEATURES * size // 224**2 if settings.views.depths else 0
    if settings.segment or (OBJECTS in settings.stages and settings.objects.needs_pixels):
        found += 3 * area
    return found
