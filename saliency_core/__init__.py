"""Clamped-erasure saliency: arrays in, arrays out.

`saliency` is the one call from an image to its maps, `saliency_batch` the same for many; `load_classifier` and
`Classifier.from_module` make the network that is asked, `place` brings it to a GPU or makes it fast on a CPU, and
`MapScores` scores maps against masks. The packages hold the steps.
"""

import lazy_loader

# On demand, as __init__.pyi lists it: who only decodes images shall not wait for torch, nor hold its memory.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
