"""Progress of a run: a live bar on a terminal, a line now and then in a log file."""

import sys
import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.console.log import is_json, say

SECONDS_BETWEEN_LINES = 15.0


class RunProgress:
    """Counts finished images and shows them.

    Parameters
    ----------
    total : int
        Images to do.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.counts: Counter[str] = Counter()
        self._last_line = self._started = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not is_json():
            self._bar = Progress(
                TextColumn("images"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )

    def __enter__(self) -> "RunProgress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("images", total=self.total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, counts: dict[str, int]) -> None:
        """Count the rows of a shard by their status."""
        self.counts.update(counts)
        done = self.counts.total()
        failed = done - self.counts["ok"]
        seconds = time.monotonic() - self._started
        note = f"{done / seconds:.2f} images/s" + (f", {failed} not ok" if failed else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            left = (self.total - done) * seconds / max(done, 1)
            text = f"{done} of {self.total} images, {note}, about {left:.0f} s left"
            rate, left = round(done / seconds, 3), round(left, 1)
            say(
                "progress",
                text,
                done=done,
                total=self.total,
                counts=self.counts,
                images_per_second=rate,
                seconds_left=left,
            )
