"""What a million images cost, from a speed and the prices of what is rented for it."""

from collections.abc import Mapping
from typing import Any

from jobs.settings import SaliencySettings


def cost_per_million(
    images_per_second: float, gpus: int, slots: int, price_gpu: float | None, price_cpu: float | None
) -> float | None:
    """Return what a million images cost; None where no price is given.

    Parameters
    ----------
    images_per_second : float
    gpus, slots : int
        GPUs and CPU slots that are rented for that speed.
    price_gpu, price_cpu : float, optional
        Of one for an hour, in any currency.

    Examples
    --------
    >>> cost_per_million(100.0, gpus=2, slots=16, price_gpu=2.0, price_cpu=0.05)
    13.33
    """
    if price_gpu is None and price_cpu is None:
        return None
    hours = 1e6 / images_per_second / 3600
    return round(hours * (gpus * (price_gpu or 0.0) + slots * (price_cpu or 0.0)), 2)


def recorded_cost(
    settings: SaliencySettings, work: Mapping[str, Any], seconds: float, gpus: int, slots: int
) -> dict[str, Any]:
    """Return what the record of a run says of its cost.

    Parameters
    ----------
    settings : SaliencySettings
    work : mapping
        `WorkLog.figures`.
    seconds : float
        From the first shard handed out to the last one written.
    gpus, slots : int
        Of the cluster, held for so long.
    """
    rate = work["images_per_second"]
    prices = (settings.price_gpu, settings.price_cpu)
    return {
        "gpu_seconds": round(gpus * seconds, 3),
        "cpu_seconds": round(slots * seconds, 3),
        "bytes_read": work["counts"].get("bytes_read", 0),
        "bytes_written": work["counts"].get("bytes_written", 0),
        "share_done_twice": work["share_done_twice"],
        "price_gpu": settings.price_gpu,
        "price_cpu": settings.price_cpu,
        "per_million_images": cost_per_million(rate, gpus, slots, *prices) if rate else None,
    }
