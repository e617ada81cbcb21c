"""How Ray Data shows what it does, and what it repeats: set on purpose, told to users in docs/faults.md."""

import logging
import os

from ray.data import DataContext


def configure(images_per_row: int, least_bytes_of_a_row: int | None = None) -> None:
    """Set it for this process, before a dataset runs.

    Parameters
    ----------
    images_per_row : int
        That go from step to step together: how long no step forward is no sign of anything.
    least_bytes_of_a_row : int, optional
        Rows have so many at least: each becomes a block of its own, which goes on while its task works on the next.
        A task that is repeated makes the same blocks again, then, as Ray has to rely on.
    """
    context = DataContext.get_current()
    if least_bytes_of_a_row is not None:
        context.target_max_block_size = least_bytes_of_a_row // 2
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)  # the console; what ended a run is the job's own to say
    # An exception is a fault of the program or of the output, never of one image: steps make rows of those, and storage
    # has tried again already. So it ends the run at once, and no shard is ever dropped.
    context.max_errored_blocks = 0
    context.retried_map_errors = False
    context.actor_task_retry_on_errors = False
    context.raise_original_map_exception = True
    # The death of a process or of a node is nobody's fault, and the longer a run the more of them it sees. Ray Data
    # repeats the task as often as it takes and starts network workers again, which is right for machines that are taken
    # away; a network worker may die while it starts, too, but not again and again (weights that need too much memory).
    context.max_consecutive_actor_init_deaths = 3
    # What bounds all that, beside `jobs.pipeline.attempts` for a shard at fault: a run without any step forward
    # ends, as when no node is left. A slow CPU takes half a minute an image, and a shard shows only when it is done.
    if "RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S" not in os.environ:
        context.execution_no_progress_timeout_s = 1800 + 30 * images_per_row
