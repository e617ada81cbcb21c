"""How many network workers a run has and on what, and what is refused before anything starts."""

from typing import Any

import pytest

from jobs.errors import SettingsError
from jobs.planning.cluster import Cluster, Node, NodeKind
from jobs.planning.network_pool import NetworkPool, network_pool
from jobs.settings import SaliencySettings

EMPTY = Cluster("head:6379", 0, 0, 1, (Node(0, 0),))
CPUS = Cluster("head:6379", 8, 0, 3, (Node(0, 0), Node(4, 0), Node(4, 0)))
TWO_GPUS = Cluster("head:6379", 16, 2, 3, (Node(0, 0), Node(8, 1), Node(8, 1)))
BRINGS_GPUS = Cluster("head:6379", 0, 0, 1, (Node(0, 0),), True, (NodeKind(Node(7, 1), 4), NodeKind(Node(15, 0), 2)))
BRINGS_ANY = Cluster("head:6379", 0, 0, 1, (Node(0, 0),), True, (NodeKind(Node(7, 1), None),))
BRINGS_CPUS = Cluster("head:6379", 0, 0, 1, (Node(0, 0),), True, (NodeKind(Node(15, 0), 2),))
SAYS_NOTHING = Cluster("head:6379", 0, 0, 1, (Node(0, 0),), True)


def chosen(cluster: Cluster, **options: Any) -> NetworkPool:
    return network_pool(SaliencySettings(images="in", output="out", **options), cluster)


@pytest.mark.parametrize(
    ("cluster", "options", "least", "most", "share"),
    [
        (Cluster(None, 4, 0), {}, 2, 2, 0.0),
        (Cluster(None, 8, 1), {"network_workers": 3}, 3, 3, 1 / 3),
        (CPUS, {}, 6, 6, 0.0),
        (TWO_GPUS, {}, 2, 2, 1.0),
        (TWO_GPUS, {"network_workers": "1:8"}, 1, 8, 1.0),
        (TWO_GPUS, {"accelerator": "cpu", "network_workers": 2}, 2, 2, 0.0),
        (BRINGS_GPUS, {}, 1, 4, 1.0),
        (BRINGS_GPUS, {"network_workers": 4}, 4, 4, 1.0),
        (BRINGS_GPUS, {"accelerator": "cpu"}, 1, 56, 0.0),
        (BRINGS_ANY, {"network_workers": "2:500"}, 2, 500, 1.0),
        (BRINGS_ANY, {}, 1, 64, 1.0),
        (BRINGS_CPUS, {"network_workers": "1:8"}, 1, 8, 0.0),
        (SAYS_NOTHING, {"accelerator": "gpu", "network_workers": "1:3"}, 1, 3, 1.0),
        (SAYS_NOTHING, {"accelerator": "cpu", "network_workers": 2}, 2, 2, 0.0),
        (EMPTY, {"accelerator": "gpu", "network_workers": "1:2"}, 1, 2, 1.0),
    ],
)
def test_workers_are_those_that_the_nodes_can_hold_now_or_later(
    cluster: Cluster, options: dict[str, Any], least: int, most: int, share: float
) -> None:
    pool = chosen(cluster, **options)
    assert (pool.least, pool.most) == (least, most)
    assert pool.gpu_share == pytest.approx(share)
    assert pool.reason


@pytest.mark.parametrize(
    ("cluster", "options", "said"),
    [
        (Cluster(None, 4, 0), {"accelerator": "gpu"}, "no GPU on this machine"),
        (Cluster(None, 4, 0), {"network_workers": 3}, "needs 5 CPU slots"),
        (Cluster(None, 4, 0), {"network_workers": "3:1"}, "MIN:MAX such as 1:8, not 3:1"),
        (Cluster(None, 4, 0), {"network_workers": "some"}, "MIN:MAX such as 1:8, not some"),
        (Cluster(None, 4, 0), {"precision": "tf32"}, "tf32 is one of NVIDIA GPUs"),
        (TWO_GPUS, {"precision": "tf32", "accelerator": "cpu"}, "tf32 is one of NVIDIA GPUs"),
        (SAYS_NOTHING, {}, "does not say whether it can bring one: give --accelerator gpu"),
        (SAYS_NOTHING, {"accelerator": "gpu"}, "give --network-workers MIN:MAX"),
        (EMPTY, {"accelerator": "gpu"}, "give --network-workers MIN:MAX"),
        (EMPTY, {}, "needs 3 CPU slots"),
        (CPUS, {"network_workers": 1, "cpus_per_network_worker": 6}, "no node has them: the largest has 4 CPU slots"),
        (TWO_GPUS, {"network_workers": 1, "cpus_per_network_worker": 9}, "the largest has 8 CPU slots and 1 GPUs"),
        (BRINGS_GPUS, {"cpus_per_network_worker": 8}, "the largest has 7 CPU slots and 1 GPUs"),
        (BRINGS_GPUS, {"network_workers": 5}, "have room for 4"),
        (BRINGS_CPUS, {"accelerator": "gpu"}, "give --network-workers MIN:MAX"),
    ],
)
def test_what_cannot_be_had_is_said_before_the_start(cluster: Cluster, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        chosen(cluster, **options)


def test_the_reason_says_what_was_chosen_and_why() -> None:
    assert str(chosen(CPUS)) == ("6 network workers on CPUs: the cluster has no GPU, and says of none that may come")
    assert str(chosen(BRINGS_GPUS)).startswith("1 to 4 network workers with a GPU each: no GPU is there yet")
