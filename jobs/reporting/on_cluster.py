"""The same sums as `jobs.reporting.evaluation`, with the files of a run spread over a Ray cluster by Ray Data."""

import dataclasses
import logging
import pickle

import pyarrow as pa
import ray

from jobs.reporting.evaluation import FILES_AT_ONCE, RunSums, evaluate_files
from jobs.reporting.runs import Run
from jobs.run.summary import Summary


def evaluate_run_on_cluster(run: Run, *, structure_scores: bool = False) -> RunSums:
    """Score a run on the cluster connected to; see `jobs.reporting.evaluation.evaluate_run`.

    Each task takes `FILES_AT_ONCE` files and sends back their sums, some kilobytes a stage, which are merged here as
    they arrive: their order, and with it the last bits of the floating-point sums, may differ from run to run.
    """
    files = run.files
    groups = [{"files": files[start : start + FILES_AT_ONCE]} for start in range(0, len(files), FILES_AT_ONCE)]
    without_files = dataclasses.replace(run, files=())  # what travels to every task

    def sums_of_files(block: pa.Table) -> pa.Table:
        (group,) = block["files"].to_pylist()
        return pa.table({"sums": [pickle.dumps(evaluate_files(without_files, group, structure_scores))]})

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    blocks = ray.data.from_items(groups, override_num_blocks=len(groups))
    total = RunSums(Summary(run.stages))
    for row in blocks.map_batches(sums_of_files, batch_size=None, batch_format="pyarrow").iter_rows():
        total.merge(pickle.loads(row["sums"]))
    return total
