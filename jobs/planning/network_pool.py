"""How many network workers a run has, on what, and whether any node can hold one: said before anything starts."""

from dataclasses import dataclass

from jobs.errors import SettingsError
from jobs.planning.cluster import TASK_SLOTS, Cluster, Node, check_slots
from jobs.settings import SaliencySettings

MOST_WITHOUT_BOUND = 64
"""Network workers where an autoscaler sets no bound and nobody gives a number."""


@dataclass(frozen=True)
class NetworkPool:
    """The network workers of a run.

    Parameters
    ----------
    least, most : int
        Ray keeps at least so many, and adds more while work waits and there are nodes for them, or can be.
    gpu_share : float
        What part of a GPU each asks for; 0 where they compute on CPUs.
    reason : str
        Why on these, for a person.
    """

    least: int
    most: int
    gpu_share: float
    reason: str

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers may change."""
        return self.least != self.most

    def __str__(self) -> str:
        count = f"{self.least} to {self.most}" if self.is_elastic else f"{self.most}"
        on = {0.0: "on CPUs", 1.0: "with a GPU each"}.get(self.gpu_share, f"with {self.gpu_share:.2f} of a GPU each")
        return f"{count} network workers {on}: {self.reason}"


def network_pool(settings: SaliencySettings, cluster: Cluster) -> NetworkPool:
    """Choose the network workers.

    Raises
    ------
    SettingsError
        If they cannot be had as asked, or the cluster does not say whether GPUs can come and nobody has said what to
        do then.
    """
    on_gpus, reason = _accelerator(settings, cluster)
    if settings.precision == "tf32" and not on_gpus:
        raise SettingsError("precision tf32 is one of NVIDIA GPUs, and there is none: give float32 or bfloat16")
    each = settings.cpus_per_network_worker
    least, most = _numbers(settings, cluster, on_gpus)
    share = 1.0 if on_gpus else 0.0
    if on_gpus and least == most > cluster.gpus > 0 and not cluster.has_autoscaler:
        share = cluster.gpus / most
    _check_fit(cluster, least, each, share, may_join=settings.accelerator == "gpu" and cluster.address is not None)
    if 0 < share < 1 and most % cluster.gpus:
        raise SettingsError(
            f"{most} network workers cannot share {cluster.gpus} GPUs evenly: give a multiple of {cluster.gpus}, "
            "or fewer"
        )
    return NetworkPool(least, most, share, reason)


def _accelerator(settings: SaliencySettings, cluster: Cluster) -> tuple[bool, str]:
    """Say whether the network runs on GPUs, and why."""
    if settings.accelerator == "cpu":
        return False, "as asked"
    if cluster.gpus:
        return True, f"{cluster.gpus} GPUs are there"
    where = "this machine" if cluster.address is None else "the cluster"
    if cluster.gpus_that_may_come != 0:
        return True, "no GPU is there yet, and the cluster's autoscaler brings nodes that have some"
    if settings.accelerator == "gpu":
        if cluster.address is None:
            raise SettingsError("there is no GPU on this machine: give --accelerator cpu, or auto")
        if settings.network_workers is None:
            raise SettingsError(
                "the cluster has no GPU now, and does not say how many can come: give --network-workers MIN:MAX"
            )
        return True, "as asked; no GPU is there yet, and the run waits for one"
    if cluster.has_autoscaler and not cluster.kinds:
        raise SettingsError(
            "the cluster has no GPU now, but an autoscaler, which does not say whether it can bring one: give "
            "--accelerator gpu with --network-workers MIN:MAX to wait for GPUs, or --accelerator cpu"
        )
    return False, f"{where} has no GPU" + ("" if cluster.address is None else ", and says of none that may come")


def _numbers(settings: SaliencySettings, cluster: Cluster, on_gpus: bool) -> tuple[int, int]:
    if (given := settings.network_workers_range) is not None:
        return given
    if on_gpus:
        if not cluster.kinds:
            return cluster.gpus, cluster.gpus
        may_come = cluster.gpus_that_may_come
        return 1, max(cluster.gpus, MOST_WITHOUT_BOUND if may_come is None else may_come, 1)
    fit = max(1, (cluster.slots - TASK_SLOTS) // settings.cpus_per_network_worker)
    most = max(1, (cluster.most_slots - TASK_SLOTS) // settings.cpus_per_network_worker)
    return (1, most) if most > fit else (fit, fit)


def _check_fit(cluster: Cluster, workers: int, slots: int, share: float, may_join: bool) -> None:
    """Check that so many workers find a place: Ray would wait for one for as long as it takes.

    Raises
    ------
    SettingsError
    """
    if may_join and not any(node.gpus for node in cluster.all_nodes):
        return  # nodes that nobody can ask for now; that the run waits for them is said
    if not cluster.has_autoscaler:
        check_slots(cluster, workers, slots, "network workers")
    places = sum(_places(node, slots, share) for node in cluster.all_nodes)
    kinds = [kind for kind in cluster.kinds if _places(kind.node, slots, share)]
    coming = sum(kind.most * _places(kind.node, slots, share) for kind in kinds if kind.most is not None)
    is_open = any(kind.most is None for kind in kinds) or (cluster.has_autoscaler and not cluster.kinds)
    if max(places, coming) >= workers or is_open:
        return
    nodes = [*cluster.all_nodes, *(kind.node for kind in cluster.kinds)]
    largest = max(nodes, key=lambda node: (node.gpus if share else 0, node.slots))
    asked = f"{slots} CPU slots" + (f" and {share:g} GPU" if share else "")
    if not any(_places(node, slots, share) for node in nodes):
        raise SettingsError(
            f"a network worker asks for {asked} on one node, and no node has them: the largest has {largest.slots} CPU "
            f"slots and {largest.gpus} GPUs; give a smaller --cpus-per-network-worker, or larger nodes"
        )
    raise SettingsError(
        f"{workers} network workers of {asked} do not fit the nodes, which have room for {max(places, coming)}: give "
        "fewer workers, or a smaller --cpus-per-network-worker"
    )


def _places(node: Node, slots: int, share: float) -> int:
    by_slots = node.slots // slots
    return int(min(by_slots, node.gpus / share + 1e-9)) if share else by_slots
