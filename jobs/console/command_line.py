"""Command lines made from a settings class, with settings files in YAML or TOML beneath the options."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, CycloptsError, Parameter, config

from jobs.console.failures import show_tracebacks
from jobs.errors import SettingsError

Settings = TypeVar("Settings")


def parse_settings(
    kind: type[Settings], arguments: Sequence[str] | None = None, description: str | None = None
) -> tuple[Settings, bool]:
    """Make settings from a command line.

    Parameters
    ----------
    kind : type
        A settings dataclass.
    arguments : sequence of str, optional
        By default those of the process.
    description : str, optional
        Shown above the options by ``--help``.

    Returns
    -------
    settings, dry_run

    Raises
    ------
    SettingsError
        If the options, or the file that ``--config`` names, are not right.
    SystemExit
        With code 0 after ``--help``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def command(
        settings: Any,
        *,
        dry_run: Annotated[bool, Parameter(negative="")] = False,
        config: Path | None = None,
        verbose: Annotated[bool, Parameter(negative="")] = False,
    ) -> tuple[Any, bool]:
        """Hand over what was parsed.

        Parameters
        ----------
        dry_run
            Check everything, print the plan and stop.
        config
            A YAML or TOML file with any of these settings; options on the command line win over it.
        verbose
            Print the traceback of what ends the command, beside its sentence.
        """
        show_tracebacks(verbose)
        return settings, dry_run

    command.__annotations__["settings"] = kind
    app = App(help=description, version_flags=[])
    app["--help"].group = app.group_parameters  # beside the other options that every command has
    app.default(command)
    try:
        files = _settings_files(given)
        app.config = files
        parsed = app(given, exit_on_error=False, print_error=False, result_action="return_value")
        options = parsed[0].preset_options() if isinstance(parsed, tuple) and hasattr(kind, "preset_options") else {}
        if options:
            # Once more, with the preset beneath all that was given.
            app.config = [*files, config.Dict(options, source="preset")]
            parsed = app(given, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, ValueError) as error:
        raise SettingsError(" ".join(str(error).split())) from error
    if not isinstance(parsed, tuple):
        raise SystemExit(0)
    settings, dry_run = parsed
    return settings, dry_run


def _settings_files(arguments: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name != "--config":
            continue
        path = Path(value or (arguments[index + 1] if index + 1 < len(arguments) else ""))
        if not path.is_file():
            raise SettingsError(f"there is no settings file {path}")
        if path.suffix == ".toml":
            found.append(config.Toml(path, must_exist=True))
        elif path.suffix in (".yaml", ".yml"):
            found.append(config.Yaml(path, must_exist=True))
        else:
            raise SettingsError(f"the settings file {path} must end in .yaml, .yml or .toml")
    return found
