"""Model cards: the templates of all training jobs, and how they write shares and cells."""

import math
from pathlib import Path
from typing import Any

import jinja2

import jobs

NAME = "model-card.md"


def render(template: str, **values: Any) -> str:
    """Fill a template of a card.

    Parameters
    ----------
    template : str
        Its path below ``jobs/``. Templates of all jobs may include ``training/templates/``.
    **values
        What it names; a name without a value is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(jobs.__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
    )
    environment.globals |= {"percent": percent, "cell": cell}
    return environment.get_template(template).render(**values)


def percent(share: float) -> str:
    """Return a share as a percentage for a person."""
    return "" if math.isnan(share) else f"{100 * share:.1f} %"


def cell(value: Any) -> str:
    """Return a value as the cell of a table in Markdown."""
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
