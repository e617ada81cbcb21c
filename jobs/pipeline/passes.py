"""Passes of a method's network over images: what fits the device, what runs out of memory, which image is at fault.

The network step without its rows: neither Ray nor Arrow, so that it runs wherever torch does.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from jobs.pipeline.batch_size import even_part, images_on_a_cpu, images_that_fit
from jobs.pipeline.freed_memory import reuse_freed_memory
from saliency_core.errors import NotFiniteError
from saliency_core.methods.attribution import Attribution, ImageAttribution, SuperpixelAttribution
from saliency_core.methods.registry import ManyRegions, NetworkMethod
from saliency_core.networks.classifier import Classifier
from saliency_core.networks.options import Precision
from saliency_core.networks.placement import compiled_network, place
from saliency_core.parameters import SaliencyParameters

Outcome = ImageAttribution | Exception

MOST_AT_ONCE = 16
"""Images that are handed together to a method that has passes of its own for each."""


class NetworkPasses:
    """Run a method's network over images in passes.

    Parameters
    ----------
    classifier : Classifier
        Moved to a GPU where there is one.
    method : NetworkMethod
    parameters : SaliencyParameters
    batch_size : int, optional
        Images per pass at most; by default as many as fit a GPU's free memory, up to 16 on a CPU. Halved for good when
        memory runs out all the same. A method that looks at superpixels has passes of its own for each image.
    precision : Precision
    compile : bool
        Compile the network for its batch size; every pass then has that size.
    rows_per_shard : int, optional
        Images of a shard, which is done in passes of one size: no pass is larger than a shard, nor is its last one
        filled with more than a few images where the network is compiled.
    gpu_share : float
        The part of a GPU's memory that this worker may take.

    Attributes
    ----------
    side : int
        Of the square images that the method takes.
    warnings : list of str
        What did not go as asked, for the record of the run.
    memory_splits : int
        Passes that were halved because memory ran out.
    """

    def __init__(
        self,
        classifier: Classifier,
        method: NetworkMethod,
        parameters: SaliencyParameters,
        batch_size: int | None = None,
        precision: Precision = "float32",
        compile: bool = False,
        rows_per_shard: int | None = None,
        gpu_share: float = 1.0,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classifier = place(classifier, device, precision)
        self.method = method
        self.side = method.side(classifier.preprocessing.input_size)
        self.parameters = parameters
        self.warnings: list[str] = []
        self.memory_splits = 0
        reuse_freed_memory()
        if batch_size:
            most = batch_size
        elif method.is_of_superpixels:
            most = MOST_AT_ONCE
        elif device.type == "cuda":
            most = self._fitting_batch(gpu_share)
        else:
            most = images_on_a_cpu(self.classifier)
        self.batch_size = most if rows_per_shard is None else even_part(rows_per_shard, most)
        if compile and parameters.objects.objects and parameters.views.depths:
            # A compiled network has no inside that could be read; the maps must not depend on how it runs.
            compile = False
            self.warnings.append(
                "the network runs uncompiled: whole objects read its layers (--no-objects or --no-depths compiles it)"
            )
        if compile and method.is_of_superpixels:
            compile = False
            self.warnings.append(f"the network runs uncompiled: {method.name} has passes of many sizes")
        self.padded = compile
        if compile:
            self.classifier, warning = compiled_network(self.classifier, self.batch_size)
            self.padded = warning is None
            self.warnings += [warning] if warning else []

    def __call__(
        self, images: Sequence[NDArray[np.uint8] | None], labels: NDArray[np.integer], regions: ManyRegions = ()
    ) -> list[tuple[Outcome | None, float]]:
        """Attribute images in passes of `batch_size`.

        Parameters
        ----------
        images : sequence of uint8 array (S, S, 3) or None
            None takes part as a black image, so that a batch has the same images in the same places whatever befell
            the others: results do not depend on which could not be read.
        labels : integer array (N,)
            Class of each; -1 stands for the class of the largest logit.
        regions : sequence of Regions
            Superpixels of each, for a method that looks at them; none for None.

        Returns
        -------
        list of (outcome, seconds)
            For each image an `ImageAttribution`, what went wrong with it, or None for None; and its share of the
            seconds of its pass.
        """
        outcomes: list[tuple[Outcome | None, float]] = []
        while len(outcomes) < len(images):  # batches may get smaller on the way
            part = slice(len(outcomes), len(outcomes) + self.batch_size)
            batch = images[part]
            if all(image is None for image in batch):
                outcomes += [(None, 0.0)] * len(batch)
                continue
            inputs = np.zeros((len(batch), self.side, self.side, 3), np.uint8)
            for index, image in enumerate(batch):
                if image is not None:
                    inputs[index] = image
            started = time.perf_counter()
            found = self._attribute(inputs, labels[part], regions[part])
            seconds = (time.perf_counter() - started) / len(inputs)
            outcomes += [
                (None, 0.0) if image is None else (outcome, seconds)
                for image, outcome in zip(batch, found, strict=True)
            ]
        return outcomes

    def _attribute(self, inputs: np.ndarray, labels: np.ndarray, regions: ManyRegions) -> list[Outcome]:
        """One outcome an image: an `ImageAttribution`, or what went wrong with it."""
        try:
            found = self._pass(inputs, labels, regions)
        except torch.OutOfMemoryError as error:
            if len(inputs) == 1:
                return [error]
            half = (len(inputs) + 1) // 2
            self.memory_splits += 1
            self._shrink(half)
            parts = (slice(0, half), slice(half, None))
            return [one for i in parts for one in self._attribute(inputs[i], labels[i], regions[i])]
        except Exception as error:  # one image must not cost its neighbours their maps
            if len(inputs) == 1:
                return [error]
            each = [slice(i, i + 1) for i in range(len(inputs))]
            return [self._attribute(inputs[i], labels[i], regions[i])[0] for i in each]
        outcomes: list[Outcome] = []
        for index in range(len(inputs)):
            try:
                outcomes.append(found.image(index))
            except NotFiniteError as error:
                outcomes.append(error)
        return outcomes

    def _pass(
        self, inputs: np.ndarray, labels: np.ndarray, regions: ManyRegions
    ) -> Attribution | SuperpixelAttribution:
        missing = self.batch_size - len(inputs) if self.padded else 0
        if missing <= 0:
            return self.method.attribute(self.classifier, inputs, labels, self.parameters, regions)
        inputs = np.concatenate([inputs, np.zeros((missing, *inputs.shape[1:]), inputs.dtype)])
        labels = np.concatenate([labels, np.zeros(missing, labels.dtype)])
        found = self.method.attribute(self.classifier, inputs, labels, self.parameters, ())
        return found[: len(inputs) - missing]

    def _shrink(self, batch_size: int) -> None:
        """Go on with smaller batches; a compiled network is compiled once more, for their size."""
        torch.cuda.empty_cache()
        if batch_size < self.batch_size:
            self.batch_size = batch_size
            self.warnings.append(f"memory ran out: the network goes on with {batch_size} images a pass")

    def _fitting_batch(self, gpu_share: float) -> int:
        size = self.classifier.preprocessing.input_size
        peaks = []
        for count in (2, 2, 4):  # the first pass also takes what is taken once
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            inputs = np.zeros((count, size, size, 3), np.uint8)
            self.method.attribute(self.classifier, inputs, np.zeros(count, np.int64), self.parameters, ())
            peaks.append(torch.cuda.max_memory_allocated() - before)
        torch.cuda.empty_cache()
        free, whole = torch.cuda.mem_get_info()
        return images_that_fit(min(free, int(gpu_share * whole)), peaks[1], peaks[2])
