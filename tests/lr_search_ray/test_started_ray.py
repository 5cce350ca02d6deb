"""A Ray that a comparison starts for itself: no dashboard, nothing reported, and no port that another machine can reach."""

import os
from pathlib import Path

import pytest
import ray

from lr_search_ray.cluster.connecting import connected
from tests.helpers import on_ray
from tests.helpers.on_ray import children
from tests.helpers.processes import python, write

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def started(no_ray):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with connected():
            yield


def test_a_ray_that_was_started_has_no_dashboard_and_reports_nothing():
    try:
        from ray._common.usage import usage_lib
    except ModuleNotFoundError:  # Ray before 2.48
        from ray._private.usage import usage_lib

    node = ray._private.worker._global_node
    assert not node.webui_url
    assert not usage_lib.usage_stats_enabled()
    started = [each.process.pid for same_kind in node.all_processes.values() for each in same_kind]
    assert set(started) & children()
    for number in started:  # each as it was started
        assert b"RAY_USAGE_STATS_ENABLED=0" in Path(f"/proc/{number}/environ").read_bytes().split(b"\0")


def listening():
    """The addresses that the Ray of this process, its workers and this process itself listen on."""
    node = ray._private.worker._global_node
    pids = {os.getpid(), *(each.process.pid for same_kind in node.all_processes.values() for each in same_kind)}
    running = True
    while running:  # their children and those of these
        found = {child for pid in pids for child in children(pid)} - pids
        pids, running = pids | found, bool(found)
    inodes = {os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").glob("*") if link.is_symlink()}
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]


def test_a_ray_that_was_started_listens_on_the_loopback_alone_while_it_works():
    @ray.remote
    def looked():
        return True

    class Waits:
        def pid(self):
            return os.getpid()

    actor = ray.remote(Waits).remote()
    assert ray.get([looked.remote(), actor.pid.remote()])[0]
    found = listening()
    assert len(found) >= 5  # gcs, raylet, its agent, workers, this process
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}  # 127.0.0.1 and ::1
    assert set(found) <= loopback


JOINS = """
import os, sys
import ray
from lr_search_ray.cluster.connecting import connected

with connected("local"):
    print(ray.get_runtime_context().gcs_address.split(":")[0])
with connected(sys.argv[1]):
    print(ray.get_runtime_context().gcs_address, ray.get(ray.remote(lambda: "works").remote()))
"""


def test_afterwards_the_same_process_joins_a_cluster_as_before(started, tmp_path):
    """One that is a user's own, at the machine's outside address."""
    code = (
        "import ray, sys; ray.init(address='local', include_dashboard=False, num_cpus=1); "
        "print(ray.get_runtime_context().gcs_address, flush=True); sys.stdin.read()"
    )
    with on_ray.another(code) as address:
        assert not address.startswith("127.")
        assert python(tmp_path, write(tmp_path / "joins.py", JOINS), address) == f"127.0.0.1\n{address} works\n"
