"""The compaction: a run's many files of results as few large ones, for query engines and for sharing.

``python -m jobs.compact --run URI --output URI``
"""

import sys
import time
from collections.abc import Sequence

from jobs.compaction.card import dataset_card
from jobs.compaction.plan import CARD, SUCCESS, CompactionPlan, CompactSettings, make_plan, write_record
from jobs.compaction.table_formats import FOLDER, make_tables
from jobs.compaction.tables import MAPS, SCORES
from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code
from jobs.storage import files as storage
from jobs.storage.redaction import redacted


def run(plan: CompactionPlan) -> tuple[dict[str, int], dict[str, str]]:
    """Do the compaction; `_SUCCESS` is written last, and what an earlier one left is removed first.

    Returns
    -------
    counts : dict
        Of rows and files.
    tables : dict
        Where engines find the Iceberg or Delta tables, if some are asked for.
    """
    # Here, because it imports Ray, for which nobody shall wait whose settings are wrong.
    from jobs.compaction.on_cluster import compact
    from jobs.pipeline.connecting import chosen_cluster, start

    start(chosen_cluster(plan.settings.ray_address, plan.settings.slots, with_gpus=False))
    for name in (SUCCESS, CARD, SCORES, MAPS, FOLDER):
        storage.remove_tree(storage.join(plan.output, name))
    write_record(plan, {})
    started = time.monotonic()
    counts = compact(plan)
    settings = plan.settings
    tables = make_tables(settings.table_format, plan.output, settings.namespace) if settings.table_format else {}
    seconds = round(time.monotonic() - started, 1)
    shown = {kind: redacted(uri) for kind, uri in tables.items()}
    write_record(plan, counts | {"seconds": seconds, "tables": shown})
    storage.write_bytes(storage.join(plan.output, CARD), dataset_card(plan.run).encode())
    storage.write_bytes(storage.join(plan.output, SUCCESS), b"")
    return counts, shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see `jobs.console.failures.exit_code`."""
    return exit_code(lambda: _prepare(arguments), "the compaction is incomplete: start it again")


def _prepare(arguments: Sequence[str] | None) -> Work | None:
    settings, dry_run = parse_settings(CompactSettings, arguments, __doc__)
    plan = make_plan(settings)
    print(plan.describe(), flush=True)

    def work() -> None:
        counts, tables = run(plan)
        print(f"{counts['rows']} rows in {counts['scores_files']} files of scores and {counts['maps_files']} of maps")
        print(f"tables at {redacted(plan.output)}")
        for kind, uri in tables.items():
            print(f"{plan.settings.table_format} table of {kind}: {uri}")

    return None if dry_run else work


if __name__ == "__main__":
    sys.exit(main())
