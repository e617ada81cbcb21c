"""One command for all jobs: ``saliency run|finetune|distil|train-multi-context|evaluate|report|status|...``.

Each is ``python -m jobs.NAME`` as well, with the same settings. Only the one asked for is imported.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "run": ("saliency", "saliency maps and scores of images in object storage"),
    "finetune": ("finetune", "a classifier for the classes in a bucket of images"),
    "distil": ("distil", "a network that gives a run's maps in one forward pass"),
    "train-multi-context": (
        "train_multi_context",
        "two networks that tell salient windows, taught by masks: multi-context saliency",
    ),
    "evaluate": ("evaluate", "scores of finished runs"),
    "report": ("report", "curves, scores and a gallery of finished runs in one HTML file"),
    "status": ("status", "how a run stands, while it runs and afterwards"),
    "contact-sheet": ("contact_sheet", "originals, maps and masks of some images of a run in one picture"),
    "compact": ("compact", "a finished run in few large files, for query engines and for sharing"),
}
"""Modules of this package and what they make, by the name of the command."""

_USAGE = "Usage: saliency COMMAND [OPTIONS]\n\n{commands}\n\nsaliency COMMAND --help shows the options of a command."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; without a command, or with an unknown one, say which there are."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("--help", "-h"):
        print(_usage())
        return 0
    if name not in COMMANDS:
        problem = f"there is no command {name!r}" if name else "no command is given"
        print(f"error: {problem}: choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    if arguments is None:
        sys.argv = [f"saliency {name}", *rest]  # what its help calls itself
    code: int = import_module(f"jobs.{COMMANDS[name][0]}").main(rest)
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    return _USAGE.format(commands="\n".join(f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()))


if __name__ == "__main__":
    sys.exit(main())
