"""The command of a training job, from its options to the place of what it leaves.

What takes seconds to import is imported where it is needed: --help and wrong options are answered at once.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from jobs.console.command_line import parse_settings
from jobs.console.failures import Work, exit_code, sentence
from jobs.planning.cluster import Cluster
from jobs.storage.redaction import redacted
from jobs.training.settings import TrainingSettings

Settings = TypeVar("Settings", bound=TrainingSettings)
Plan = TypeVar("Plan")


def planned(settings: Settings, make_plan: Callable[[Settings, Cluster], Plan]) -> Plan:
    """Make a job's plan, connecting to the Ray cluster if one is named. Nothing is written.

    Raises
    ------
    SettingsError
        With one sentence that says what is wrong and what to do.
    """
    from jobs.pipeline import connecting

    return make_plan(settings, connecting.chosen_cluster(settings.ray_address, settings.slots))


def train_command(
    kind: type[Settings],
    arguments: Sequence[str] | None,
    description: str | None,
    prepare: Callable[[Settings], tuple[str, Callable[[], str]]],
) -> int:
    """Run the command line of a training job and return its exit code, see `jobs.console.failures.exit_code`.

    Parameters
    ----------
    kind : type
        The job's settings.
    arguments, description
        As for `jobs.console.command_line.parse_settings`.
    prepare : callable
        Checks everything; returns the plan for a person, and what does it and returns the name of the result below the
        output.
    """

    def start() -> Work | None:
        settings, dry_run = parse_settings(kind, arguments, description)
        plan, train = prepare(settings)
        print(plan, flush=True)
        return None if dry_run else lambda: _finish(settings, train)

    return exit_code(start, "the run is incomplete", sentence)


def _finish(settings: TrainingSettings, train: Callable[[], str]) -> None:
    result = train()
    from jobs.storage import files as storage

    print(f"result at {redacted(storage.join(settings.output, result))}")
