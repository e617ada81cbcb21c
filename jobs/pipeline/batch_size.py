"""How many images the network takes at a time."""

import torch

from saliency_core.networks.classifier import Classifier

MOST_IMAGES = 256
"""Images in a batch at most: larger ones were never seen to pay, and make a failure dearer."""
_SHARE_OF_FREE_MEMORY = 0.8
_MOST_BYTES_ON_A_CPU = 2**30


def images_on_a_cpu(classifier: Classifier) -> int:
    """Choose how many images a CPU takes at a time.

    More than 16 are hardly faster (docs/performance.md); fewer where a network would keep more than 1 GiB between its
    forward and its backward pass.

    Parameters
    ----------
    classifier : Classifier
        On a CPU.

    Returns
    -------
    int
        16, 8, 4, 2 or 1.
    """
    kept: dict[int, int] = {}

    def note(values: torch.Tensor) -> torch.Tensor:
        storage = values.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return values

    parameters = {values.untyped_storage().data_ptr() for values in classifier.network.parameters()}
    size = classifier.preprocessing.input_size
    image = torch.zeros(1, 3, size, size, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values), torch.enable_grad():
        logits = classifier.network(image)  # while it lives, so does what it keeps: no two share an address
    an_image = sum(count for address, count in kept.items() if address not in parameters)
    del logits
    return next((images for images in (16, 8, 4, 2) if images * an_image <= _MOST_BYTES_ON_A_CPU), 1)


def images_that_fit(free: int, of_two: int, of_four: int) -> int:
    """Choose a batch size from the bytes that two and four images took.

    Parameters
    ----------
    free : int
        Bytes that are free beside the network's weights.
    of_two, of_four : int
        Most bytes in use during a pass over so many images, beside the weights.

    Returns
    -------
    int
        A multiple of 8 where there is room for 8, at least 1, at most `MOST_IMAGES`.

    Examples
    --------
    >>> images_that_fit(free=80_000, of_two=3_000, of_four=5_000), images_that_fit(3_000, 3_000, 5_000)
    (56, 1)
    """
    each = max((of_four - of_two) / 2, 1.0)
    fixed = max(of_two - 2 * each, 0.0)
    count = int(min((_SHARE_OF_FREE_MEMORY * free - fixed) / each, MOST_IMAGES))
    return count // 8 * 8 if count >= 8 else max(count, 1)


def even_part(images: int, most: int) -> int:
    """Return the size of the fewest parts of equal size, the last one smaller, that images can be done in.

    Parameters
    ----------
    images : int
    most : int
        Images that a part may have.

    Examples
    --------
    >>> even_part(96, 256), even_part(96, 64), even_part(96, 16)
    (96, 48, 16)
    """
    parts = -(-images // most)
    return -(-images // parts)
