"""What can be chosen about pictures of a run, by name. Nothing here needs what draws them."""

from typing import Literal

Order = Literal["best", "median", "worst", "spread", "first"]
"""Which rows are shown, by the F-beta of the last stage."""
