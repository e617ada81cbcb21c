"""How many images of a run may fail: a run in which most did has not succeeded, whatever was written."""

from collections import Counter

from jobs.errors import TooManyFailedError
from jobs.run.summary import Summary

FIRST_IMAGES = 1000
"""Images after which a run that fails for one and the same reason is stopped."""
TOO_MANY_FAILED = "too many failed"
"""What the record of a run says as its state that has a row for every image, but not enough that are ok."""
LOUD_SHARE = 0.1
"""A larger share of failed images is said at the end of a run, even where it may have them."""
_WHAT_TO_DO = "jobs.status shows which; --retry-errors does them again, --most-failed allows more"


class FailureBudget:
    """Counts the failed images of one start of a run, and stops it early where nearly all of them fail alike.

    Parameters
    ----------
    most_failed : float
        Share of images that may fail, 0 to 1.
    images : int
        That this start is to do. With no more than `FIRST_IMAGES` there is nothing to be won by stopping.
    """

    def __init__(self, most_failed: float, images: int) -> None:
        self._is_on = images > FIRST_IMAGES
        # Of the first thousand: images that lie together in a list may fail together, so half of them at least.
        self._most = max(most_failed, 0.5) * FIRST_IMAGES
        self._seen = 0
        self._reasons: Counter[str] = Counter()

    def add(self, summary: Summary) -> None:
        """Count a shard.

        Raises
        ------
        TooManyFailedError
            If more than half of the first thousand images, or more than the run may have, failed for one reason.
        """
        if not self._is_on:
            return
        self._seen += summary.rows
        self._reasons.update(summary.reasons)
        (reason, count), *_ = [*self._reasons.most_common(1), ("", 0)]
        if count > self._most:
            raise TooManyFailedError(
                f"stopped early: {count} of the first {self._seen} images failed for one reason: {reason}; "
                f"{_WHAT_TO_DO}"
            )
        self._is_on = self._seen < FIRST_IMAGES


def too_many_failed(summary: Summary, most_failed: float) -> str | None:
    """Say in a sentence that more images of a finished run failed than it may have; None where it is within bounds."""
    if summary.failures <= most_failed * summary.rows:
        return None
    return f"{_failed(summary)}, and no more than {100 * most_failed:g} % may: {_WHAT_TO_DO}"


def failure_warning(summary: Summary) -> str | None:
    """Say in a sentence that many images failed, if they did."""
    if summary.failures <= LOUD_SHARE * summary.rows:
        return None
    return f"{_failed(summary)}: {_WHAT_TO_DO}"


def _failed(summary: Summary) -> str:
    (reason, count), *_ = summary.reasons.most_common(1)
    share = 100 * summary.failures / summary.rows
    return (
        f"{summary.failures} of {summary.rows} images failed ({share:.1f} %), {count} of them for one reason: {reason}"
    )
