"""What a running Ray cluster has, and what its autoscaler says that it can bring.

Ray has no public call for either. Its autoscaler tells the cluster what kind every node is of; a cluster without one
names a kind for every node by the node's own id. Which kinds there could be beside those that are there is in the
cluster's configuration, where whoever runs the cluster has put it into Ray's store: then `NodeKind` are known.
"""

import json
from typing import Any

import ray
import ray._private.state
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.experimental.internal_kv import _internal_kv_get

from jobs.planning.cluster import Cluster, Node, NodeKind

_OF_NO_KIND = "node_"
"""How the name of a kind begins that is one node's own."""


def described(address: str) -> Cluster:
    """Describe the cluster that this process is connected to."""
    nodes = nodes_now()
    config: Any = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config is not None else ()
    # A most of -1 has no bound.
    kinds = tuple(
        NodeKind(_node(group.resources), None if group.max_count < 0 else group.max_count)
        for group in groups
        if group.max_count
    )
    return Cluster(
        address,
        sum(node.slots for node in nodes),
        sum(node.gpus for node in nodes),
        len(nodes),
        nodes,
        bool(kinds) or _has_autoscaler(),
        kinds,
    )


def nodes_now() -> tuple[Node, ...]:
    """Return the nodes of the cluster that this process is connected to."""
    return tuple(_node(found["Resources"]) for found in ray.nodes() if found["Alive"])


def _node(resources: Any) -> Node:
    return Node(*(int(resources.get(name, 0)) if name in resources else 0 for name in ("CPU", "GPU", "memory")))


def _has_autoscaler() -> bool:
    said = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    report = (json.loads(said).get("autoscaler_report") or {}) if said else {}
    kinds = list((report.get("node_type_mapping") or {}).values())
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    kinds += [node.ray_node_type_name for node in [*status.active_nodes, *status.idle_nodes]]
    return any(not kind.startswith(_OF_NO_KIND) for kind in kinds if kind)
