"""A cluster of several nodes, simulated on this machine: one is lost in the middle of a comparison, another one comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.node import Node
from ray.cluster_utils import Cluster

from lr_search_ray.cluster.quiet import quiet
from tests.helpers.ray_drivers import Driver, descendants, folder_of_work, pause_of, run_locally, same, script, steps

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("no_ray")]
NUM_STEPS, EVERY = 300, 30  # of a trial; between its checkpoints
# no range tests: so a worker's number of steps says how far its present trial is
SETTINGS = {
    "strategies": ["grid"],
    "schedules": ["constant", "sgdr"],
    "lr_range": [1e-3, 0.5],
    "budget": 4,
    "seeds": 1,
    "name": "driven",
}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head node without CPUs, and two nodes of one."""
    with quiet():
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1)
            yield cluster
        finally:
            cluster.shutdown()


def trained(folder: Path, node: Node) -> dict[int, int]:
    """How many steps each worker of a node has done."""
    (raylet,) = node.all_processes["raylet"]
    workers = descendants(raylet.process.pid)
    return {pid: done for pid, done in steps(folder).items() if pid in workers}


def test_a_lost_nodes_trials_go_on_from_their_checkpoints_elsewhere_and_a_new_node_takes_part(
    tmp_path: Path, cluster: Cluster
) -> None:
    undisturbed = run_locally(tmp_path / "local", SETTINGS)
    folder = folder_of_work(tmp_path / "ray", pause=0.02)
    (folder / "shared").mkdir()
    lost, kept = cluster.worker_nodes
    options = {
        "address": cluster.address,
        "resources_per_trial": {"cpu": 1},
        "max_concurrent_trials": None,
        "storage_path": str(folder / "shared"),
        "checkpoint_every": EVERY,
    }
    with Driver(folder, *script(SETTINGS, **options)) as driver:

        def in_the_middle() -> bool:
            return any(5 * EVERY < done % NUM_STEPS < NUM_STEPS - EVERY for done in trained(folder, lost).values())

        driver.wait_until(lambda: bool(trained(folder, kept)))
        driver.wait_until(in_the_middle)
        pause_of(folder, 0.2)  # or the other node's trials would all be done before a new worker has started
        cluster.remove_node(lost, allow_graceful=False)
        new = cluster.add_node(num_cpus=1)
        driver.wait_until(lambda: bool(trained(folder, new)))
        pause_of(folder, 0)
        assert driver.ended() == 0, driver.written
    same(folder, undisturbed)
    done = steps(folder)
    del done[driver.process.pid]  # which tried the workload
    again = sum(done.values()) - len(undisturbed) * NUM_STEPS
    assert 0 <= again <= EVERY, "from the checkpoint on, not from the beginning"
    assert list((folder / "shared").iterdir()) == []
