"""Bytes of an image between the steps: the estimate against the rows themselves, and how many go together."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from jobs.inputs.manifest import SCHEMA
from jobs.pipeline.groups import parts
from jobs.pipeline.prepare import PrepareStep
from jobs.planning.cluster import Cluster, Node, NodeKind
from jobs.planning.sizes import bytes_of_an_image, memory_of_a_task
from jobs.run.shards import MOST_BYTES_PER_SHARD, choose_rows_per_shard
from jobs.settings import SaliencySettings


@pytest.mark.parametrize("options", [{"preset": "fast"}, {"working_size": 1024, "segment": True}, {}])
def test_the_estimate_is_near_what_the_first_step_returns(options: dict[str, Any], tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 255, (768, 1024, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "image.png")
    settings = SaliencySettings(images="in", output="out", **options)
    listed = [{"image_id": 0, "image_uri": str(tmp_path / "image.png"), "mask_uri": None, "label": -1}]
    prepared = PrepareStep(settings, 224)(pa.Table.from_pylist(listed, schema=SCHEMA))
    assert prepared["status"].to_pylist() == ["ok"]
    # The estimate counts in what the network adds: its raw map and features.
    later = 4 * 224**2 + 270_000
    assert 0.8 < bytes_of_an_image(settings, 224) / (prepared.nbytes + later) < 1.25


HEAD, SMALL, LARGE = Node(0, 0, 2**36), Node(4, 0, 2**28), Node(8, 1, 2**34)


@pytest.mark.parametrize(
    ("nodes", "kinds", "is_asked"),
    [
        ((HEAD, SMALL, LARGE), (), True),
        ((HEAD, SMALL), (NodeKind(LARGE, 2),), True),
        ((HEAD, SMALL), (NodeKind(Node(8, 1), 2), NodeKind(LARGE, 2)), False),
        ((HEAD,), (), False),
        ((Node(8, 0),), (), False),
    ],
)
def test_a_task_asks_for_its_memory_where_nodes_say_what_they_have(
    nodes: tuple[Node, ...], kinds: tuple[NodeKind, ...], is_asked: bool
) -> None:
    cluster = Cluster("head:6379", 12, 1, 3, nodes, bool(kinds), kinds)
    assert memory_of_a_task(10**8, cluster) == (2**28 + 2 * 10**8 if is_asked else None)


def test_a_task_never_asks_for_more_than_lets_two_run_beside_the_network() -> None:
    cluster = Cluster("head:6379", 4, 0, 2, (HEAD, SMALL))
    asked = memory_of_a_task(10**9, cluster)
    assert asked is not None
    assert 2 * asked + 64 <= SMALL.memory
    assert memory_of_a_task(10**8, Cluster("head:6379", 4, 0, 2, (HEAD, SMALL), has_autoscaler=True)) is None


def test_large_images_come_in_fewer_rows() -> None:
    rows = {}
    for size in (400, 1024, 4096):
        for map_size in ("working", "original"):
            settings = SaliencySettings(images="in", output="out", working_size=size, map_size=map_size)
            each = bytes_of_an_image(settings, 224)
            rows[size, map_size] = choose_rows_per_shard(10**6, 4, None, each)
            assert rows[size, map_size] * each <= MOST_BYTES_PER_SHARD
    assert rows == {
        (400, "working"): 96,
        (400, "original"): 16,
        (1024, "working"): 40,
        (1024, "original"): 8,
        (4096, "working"): 2,
        (4096, "original"): 2,
    }


@pytest.mark.parametrize("count", [1, 7, 63, 64, 1000, 250_000, 10_000_000])
@pytest.mark.parametrize(("images", "each"), [(96, 2 * 10**8), (8, 10**7), (1, 1000)])
@pytest.mark.parametrize("slots", [1, 4, 2000])
def test_every_shard_is_handed_out_once(count: int, images: int, each: int, slots: int) -> None:
    shards = np.arange(count) * 2
    found = list(parts(shards, images, each, slots))
    assert np.array_equal(np.concatenate([part.shards for part in found]), shards)
    for part in found:
        assert part.blocks <= min(part.rows, 2000)
        assert part.row(0) == part.shards[: part.together].tolist()
        assert part.row(part.rows - 1)[-1] == part.shards[-1]
        assert part.rows / part.blocks * part.together * images <= 3072 or part.blocks == part.rows
    # As long as there are few, each slot gets its own.
    assert found[0].blocks >= min(count, slots, 1900)
