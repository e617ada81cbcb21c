"""The settings of a run as its record keeps them: what decides the results, and what differs at another start."""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from typing import Any, ClassVar

from jobs.errors import SettingsError
from jobs.storage.redaction import redacted

LONGEST_VALUE = 80
"""Characters of a setting's value in a sentence."""


class RecordedSettings:
    """What the settings of every job can do, a dataclass each."""

    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Settings that say where things lie and how the work is spread; what is read counts by its content."""

    input_names: ClassVar[frozenset[str]] = frozenset()
    """Those of them that name what goes in: a run that goes on must name the same."""

    def recorded(self) -> dict[str, Any]:
        """Return the settings as plain values, without credentials, for the record of the run."""
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {key: redacted(value) if isinstance(value, str) else value for key, value in values.items()}

    def differences(self, recorded: dict[str, Any]) -> list[str]:
        """Say which settings decide the results, or what goes in, and differ from those of a record, and how."""
        own = json.loads(json.dumps(self.recorded()))
        names = [name for name in own if name not in self.without_effect or name in self.input_names]
        return [text for name in names for text in _difference(name, recorded.get(name), own[name])]

    def digest(self, **contents: str | None) -> str:
        """Digest all that decides the results: the settings that do, and checksums of what is read."""
        values = {key: value for key, value in self.recorded().items() if key not in self.without_effect}
        content = {"settings": values, **contents}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def refuse_other_settings(output: str, is_finished: bool, different: Collection[str]) -> None:
    """Raise a SettingsError if a run that is there differs from what is asked, in a sentence that says how."""
    if different:
        raise SettingsError(
            f"{redacted(output)} holds {'a finished' if is_finished else 'an unfinished'} run with other settings: "
            f"{', '.join(different)}: give the same settings to go on with it, another --output, or --overwrite"
        )


def _difference(name: str, there: Any, here: Any) -> list[str]:
    if there == here:
        return []
    if isinstance(there, dict) and isinstance(here, dict):
        return [text for part in here for text in _difference(part, there.get(part), here[part])]
    values = [json.dumps(value) for value in (there, here)]
    if max(map(len, values)) > LONGEST_VALUE:
        return [name]
    return [f"{name} ({values[0]} there, {values[1]} here)"]
