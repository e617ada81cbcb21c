"""What is done to a shard before and behind the network: read its rows, prepare them, finish them, write them.

Plain functions of a shard's number, without Ray: the pipeline wraps them into tasks, tests call them in a loop.
"""

from dataclasses import dataclass, field

import pyarrow as pa

from jobs.pipeline.given_up import given_up
from jobs.planning.plan import Plan
from jobs.run.claim import check_claim
from jobs.run.layout import shard_file
from jobs.run.manifest_files import ManifestReader
from jobs.run.redo import prepare_failed
from jobs.run.summary import Summary, summaries
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from saliency_core.methods.registry import METHODS, NetworkMethod


@dataclass(frozen=True)
class ShardSteps:
    """The steps of one start of a run.

    Parameters
    ----------
    settings : SaliencySettings
    input_size : int, optional
        Side of the square to which images are squashed for the method; None for one without a network.
    retried : frozenset of int
        Shards that are there, with rows to be done again.
    epoch : str
        Of the run's results, see `jobs.run.layout.shard_file`.
    token : str
        Of the driver's claim on the output: nothing is written once another driver has taken the output over.
    """

    settings: SaliencySettings
    input_size: int | None
    retried: frozenset[int]
    epoch: str
    token: str
    manifest: ManifestReader = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "manifest", ManifestReader(self.settings.output))

    @classmethod
    def of(cls, plan: Plan, token: str) -> "ShardSteps":
        """Make the steps of a planned run."""
        method = METHODS[plan.settings.method]
        size = None
        if plan.classifier is not None and isinstance(method, NetworkMethod):
            size = method.side(plan.classifier.preprocessing.input_size)
        return cls(plan.settings, size, frozenset(plan.failed), plan.epoch, token)

    def prepare(self, shard: int, deadly: bool = False) -> pa.Table:
        """Fetch and decode the images of a shard, rows of `tables.PREPARED`; nothing of it where that is `deadly`.

        Raises
        ------
        SurroundingsError
            If files cannot be read for a reason that is none of theirs.
        """
        # Here and below, by the tasks: the driver and the network workers shall not wait for decoders and numba.
        from jobs.pipeline.prepare import PrepareStep, unprepared

        rows = self.manifest(shard)
        if deadly:
            step = lambda rows: given_up(unprepared(rows), "prepare")  # noqa: E731
        else:
            step = PrepareStep(self.settings, self.input_size)
        if shard not in self.retried:
            return step(rows)
        return prepare_failed(rows, self.settings.output, shard, self.epoch, self.settings.retried_statuses, step)

    def finish(self, images: pa.Table, shard: int, deadly: bool = False) -> Summary:
        """Make the maps and scores of a shard that went through the network, and write its file; return its sums.

        Raises
        ------
        ClaimLostError
            If another driver has taken the output over; nothing has been written then.
        WriteError
            If the file cannot be written.
        """
        from jobs.pipeline.results import ResultStep

        self._check_claim()
        # Again right before the write: all the work on the shard lies between the two.
        step = ResultStep(self.settings, self.epoch, before_write=self._check_claim)
        return step(given_up(images, "maps") if deadly else images, shard)

    def is_done(self, shard: int) -> bool:
        """Tell whether the results of a shard are there, of which there were none when the run started."""
        return shard not in self.retried and storage.exists(shard_file(self.settings.output, shard, self.epoch))

    def done(self, shard: int) -> Summary:
        """Return the sums of a shard whose results are there."""
        (summary,) = summaries([shard_file(self.settings.output, shard, self.epoch)], self.settings.stages)
        return summary

    def _check_claim(self) -> None:
        check_claim(self.settings.output, self.token)
