"""A real Ray cluster of two nodes on this machine: the frames of local processes, byte for byte, whatever is lost."""

from __future__ import annotations

from dataclasses import replace

import plain_worker
import pytest
from fleet_files import engine_of, frames_of, request_of, write_fleet
from plain_worker import Squarer
from raised import user_error

from any2seg_core.faults.grammar import read_plan
from any2seg_core.fleet.engines.engine import MOST_LOSSES
from any2seg_core.fleet.engines.ray import RayEngine
from any2seg_core.fleet.evaluate import evaluate_fleet

ray = pytest.importorskip("ray", reason="no Ray here: pip install 'any2seg[ray]'")
PLAN = read_plan(["camera@0.5:0.9"])


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else other tests starve the workers, which Ray makes nice
        nodes = Cluster(initialize_head=True, head_node_args=head)
        nodes.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield nodes
    nodes.shutdown()


@pytest.mark.slow
def test_value_two_nodes_write_the_bytes_of_this_process_though_workers_are_killed(cluster, tmp_path):
    """One after the other, as a cluster takes long to begin."""
    store = write_fleet(tmp_path, [0.9, 0.5])
    alone = request_of(store, name="alone", faults=PLAN)
    evaluate_fleet(alone, engine=engine_of(alone))
    request = replace(alone, name="cluster", engine="ray", address=cluster.address, cut_s=0.45)
    result = evaluate_fleet(request)
    assert (result.finished, result.failed, result.lost) == (2, 0, 0)
    assert frames_of(store, "cluster").equals(frames_of(store, "alone"))
    for part in (store.evaluation_folder("alone") / "parts").iterdir():
        assert (store.evaluation_folder("cluster") / "parts" / part.name).read_bytes() == part.read_bytes()

    lonely = RayEngine(Squarer(tmp_path), address=cluster.address)
    with user_error("process-failed", "No module named 'plain_worker'"), lonely:  # as of a node without this package
        list(lonely.events(iter([1])))

    ray.cloudpickle.register_pickle_by_value(plain_worker)
    for name in ("kill-2", "always-3"):
        (tmp_path / name).touch()
    with RayEngine(Squarer(tmp_path), address=cluster.address) as engine:
        assert engine.workers == 2
        found = [event for event in engine.events(iter(range(5))) if event.is_over or event.lost]
    assert sorted(event.result[0] for event in found if event.result) == [0, 1, 4, 16]
    losses = sorted((event.task, event.lost) for event in found if event.lost)
    assert losses == [(2, 1), *((3, count) for count in range(1, MOST_LOSSES + 1))]

    def until_the_head_is_gone():
        yield 1
        cluster.head_node.kill_gcs_server()
        yield -2

    lonely = RayEngine(Squarer(tmp_path), workers=1, address=cluster.address)
    with user_error("cluster-unreachable", cluster.address, "run the command again"), lonely:
        list(lonely.events(until_the_head_is_gone()))
