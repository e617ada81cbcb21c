"""Bytes of an image on its way through the pipeline: how many go together, and what a task asks of a node's memory."""

from jobs.planning.cluster import Cluster
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

_PROCESSES = 2**28
"""Bytes of a worker's own and of its decoder's, with photographs in work."""
_TIMES = 2
"""Times the bytes of what is prepared that a task holds: the images, and the row that they become."""
_OF_NETWORK_WORKERS = 2**10
"""Bytes left to network workers, which ask for one each or for none."""


def memory_of_a_task(bytes_of_a_row: int, cluster: Cluster) -> int | None:
    """Return the bytes that a task beside the network asks of its node, so that none gets more tasks than it holds.

    At most half of what the largest node has: two tasks, one to prepare and one to finish, always find a place.

    Parameters
    ----------
    bytes_of_a_row : int
        Of the images that are prepared together, between the steps.
    cluster : Cluster
        With the nodes that are there now.

    Returns
    -------
    int or None
        None where an autoscaler might know of no node that offers memory, and would bring none, or no node says.

    Examples
    --------
    >>> from jobs.planning.cluster import Node
    >>> memory_of_a_task(10**8, Cluster("head:6379", 16, 0, 2, (Node(8, 0, 16 * 2**30), Node(8, 0, 2**29)))) // 10**6
    468
    >>> memory_of_a_task(10**8, Cluster("head:6379", 8, 0, 1, (Node(8, 0, 2**29),))) // 10**6
    268
    """
    kinds = [kind.node for kind in cluster.kinds if kind.node.slots]
    if cluster.has_autoscaler and not (kinds and all(kind.memory for kind in kinds)):
        return None
    offered = [node.memory for node in (*cluster.all_nodes, *kinds) if node.slots and node.memory]
    if not offered:
        return None
    return min(_PROCESSES + _TIMES * bytes_of_a_row, (max(offered) - _OF_NETWORK_WORKERS) // 2)


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
