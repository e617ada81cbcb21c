"""What a run has come to and how it stands, as tables for a person."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.run.status import RunStatus, duration
from jobs.run.summary import Summary


def print_summary(summary: Summary, console: Console, images_per_second: float | None) -> None:
    """Print counts, scores and speed as tables for a person."""
    counts = Table(title="images")
    counts.add_column("status")
    counts.add_column("count", justify="right")
    for status, count in summary.counts.most_common():
        counts.add_row(status, str(count))
    console.print(counts)
    if any(scores.images for scores in summary.scores.values()):
        table = Table(title="scores (F-beta, beta² = 0.3)")
        table.add_column("stage")
        for name in ("A", "B", "C", "adaptive", "MAE", "images"):
            table.add_column(name, justify="right")
        for stage, scores in summary.scores.items():
            found = scores.figures()
            values = (
                found.f_beta_of_mean_curve,
                found.f_beta_max_of_mean,
                found.f_beta_mean_of_max,
                found.f_beta_adaptive,
                found.mae,
            )
            table.add_row(stage, *(f"{value:.4f}" for value in values), str(found.images))
        console.print(table)
    parts = ", ".join(f"{name} {value / max(summary.rows, 1) * 1000:.1f}" for name, value in summary.seconds.items())
    console.print(f"milliseconds of work per image: {parts}")
    if images_per_second is not None:
        console.print(f"{images_per_second:.2f} images per second")


def print_status(status: RunStatus, console: Console) -> None:
    """Print how a run stands, for a person."""
    share = f" ({100 * status.done / status.images:.1f} %)" if status.images else ""
    lines = [f"run      {status.run}", f"state    {status.state}: {status.reason}"]
    if status.method is not None:
        lines += [f"method   {status.method}", f"images   {status.done} of {status.images}{share}"]
    if status.images_per_second is not None and status.seconds_left is not None:
        lines.append(f"speed    {status.images_per_second:.2f} images/s, about {duration(status.seconds_left)} left")
    if status.started is not None:
        lines.append(f"started  {status.started}")
    if status.holder is not None:
        lines.append(
            "driver   process {process} on {host}, since {since}, last sign of life {seconds_ago} s ago".format(
                **status.holder
            )
        )
    if status.error is not None:
        lines.append(f"stopped  {status.error}")
    for line in lines:
        console.print(Text(line))
    if status.counts:
        table = Table("status", "count")
        for name, count in status.counts.items():
            table.add_row(name, str(count))
        console.print(table)
    if status.failed:
        console.print(Text(f"{len(status.failed)} of {status.failures} images that failed, the latest first:"))
    for image in status.failed:
        console.print(Text(f"  {image.status}  {image.image_uri}  {image.error or ''}"))
