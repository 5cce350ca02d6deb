"""What a cluster has: resources that can never be given, trials that fit at once, and a storage path that all machines see."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put
from ray.util.placement_group import placement_group, remove_placement_group

from lr_search.errors import ClusterError, InvalidInputError
from lr_search_ray.cluster import autoscaler
from lr_search_ray.cluster.checkpoints import require_shared
from lr_search_ray.cluster.connecting import connected, shut_down
from lr_search_ray.cluster.quiet import quiet
from lr_search_ray.cluster.resources import (
    checked_resources,
    hint,
    machines,
    nodes,
    placement,
    require_possible,
    slots,
    taken_up,
)
from tests.helpers.ray_drivers import descendants

pytestmark = pytest.mark.ray

GROWS = (
    b"__autoscaler_cluster_config",
    b"__autoscaler",
)  # keys and namespaces in which Ray keeps what it knows of an autoscaler
SECOND_VERSION = b"__autoscaler_v2_enabled", b"__autoscaler"
STATUS = b"__autoscaling_status"


@pytest.fixture
def says(shared_ray):
    """Has the cluster say something of its autoscaler; forgotten afterwards."""
    said = []

    def say(key, value):
        _internal_kv_put(key[0], value, namespace=key[1])
        said.append(key)

    yield say
    for name, namespace in said:
        _internal_kv_del(name, namespace=namespace)


# what is asked for


def test_a_cpu_is_asked_for_beside_a_gpu_and_names_are_in_small_letters():
    assert checked_resources({"gpu": 1}) == {"cpu": 1.0, "gpu": 1.0}
    assert list(checked_resources({"GPU": 0.25, "Cpu": 2})) == ["cpu", "gpu"]
    assert checked_resources({"CPU": 1.5, "GPU": 0, "a100": 0.001}) == {"cpu": 1.5, "gpu": 0.0, "a100": 0.001}
    assert checked_resources({"cpu": 0, "gpu": 0.5}) == {"cpu": 0.0, "gpu": 0.5}


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ([("cpu", 1)], r"must be a dictionary of amounts.*got \[\('cpu', 1\)\]"),
        ({"cpu": -1}, r"resources_per_trial\['cpu'\] must be a number, 0 or more, but got -1\."),
        ({"cpu": "2"}, r"\['cpu'\] must be a number, 0 or more, but got '2'"),
        ({"cpu": True}, r"\['cpu'\] must be a number"),
        ({"gpu": float("nan")}, r"\['gpu'\] must be a number"),
        ({"gpu": float("inf")}, r"\['gpu'\] must be a number"),
        ({"gpu": 1.5}, r"\['gpu'\] must be below 1, for trials that share a GPU, or whole, but got 1.5"),
        ({"gpu": 0.00001}, r"\['gpu'\] must be 0 or at least 0.0001, but got 1e-05"),
        ({"gpus": 1}, r"the name of that resource is 'gpu', but got 'gpus'"),
        ({"num_cpus": 1}, r"the name of that resource is 'cpu', but got 'num_cpus'"),
        ({"cpu": 1, "CPU": 2}, r"must name a resource once, but got {'cpu': 1, 'CPU': 2}"),
        ({"": 1}, r"name must be a string, but got ''"),
        ({7: 1}, r"name must be a string, but got 7"),
        ({"cpu": 0, "gpu": 0.0}, r"must ask for more than 0 of something, but got {'cpu': 0, 'gpu': 0.0}"),
    ],
)
def test_what_cannot_be_asked_for(resources, told):
    with pytest.raises(InvalidInputError, match=told):
        checked_resources(resources)


# what one node has


def test_what_no_node_has_even_if_idle_is_refused_at_once(shared_ray):
    require_possible({"cpu": 4.0, "gpu": 2.0, "a100": 1.0})
    held = placement_group([{"CPU": 4}])  # all that is free
    assert held.wait(30)
    require_possible({"cpu": 4.0})
    remove_placement_group(held)
    with pytest.raises(ClusterError) as caught:
        require_possible({"cpu": 1.0, "gpu": 3.0})
    assert str(caught.value) == (
        "resources_per_trial must fit on one node, but got {'cpu': 1, 'gpu': 3}, and the largest node (of 1) has "
        "{'cpu': 4, 'gpu': 2}. Ask for less, or use a cluster that has such a node (address)."
    )
    with pytest.raises(ClusterError, match=r"has {'cpu': 4, 'h100': 0}\."):
        require_possible({"cpu": 1.0, "h100": 1.0})


def test_nodes_that_the_platform_says_it_may_add_count(shared_ray, says):
    groups = [
        NodeGroupConfig(resources={"CPU": 16, "GPU": 8}, max_count=2, name="gpus"),
        NodeGroupConfig(resources={"CPU": 999}, max_count=0, name="none of these"),
    ]
    says(GROWS, ClusterConfig(node_group_configs=groups).SerializeToString())
    require_possible({"cpu": 16.0, "gpu": 8.0})
    with pytest.raises(
        ClusterError, match=r"the largest node \(of 1 and of those that the autoscaler may add\) has {'cpu': 16}"
    ):
        require_possible({"cpu": 17.0})
    assert hint({"cpu": 1.0, "gpu": 8.0}) == "No node has {'cpu': 1, 'gpu': 8} yet: waiting for the cluster to add one."


@pytest.mark.parametrize("version", [1, 2])
def test_nodes_that_ray_up_may_add_count(says, version, monkeypatch, tmp_path):
    node = nodes()[0].id
    own = json.dumps({"autoscaler_report": {"node_type_mapping": {node: f"node_{node}"}}})
    if version == 2:
        says(SECOND_VERSION, b"1")
    else:
        status = {STATUS: own}  # not in the cluster itself, whose monitor writes its own over it every few seconds
        monkeypatch.setattr(autoscaler, "_internal_kv_get", lambda key, namespace=None: status.get(key))
        for status[STATUS] in (own, "{}"):  # without an autoscaler, and of a cluster that is starting
            with pytest.raises(ClusterError):
                require_possible({"gpu": 4.0})
        status[STATUS] = own.replace(f"node_{node}", "ray.head.default")
    config = tmp_path / "config.yaml"
    monkeypatch.setattr(autoscaler, "CONFIG", config)
    require_possible({"gpu": 4.0})  # nobody says which nodes may be added: not to be refused
    config.write_text("""
        max_workers: 8
        available_node_types:
          ray.head.default: {resources: {CPU: 64}, max_workers: 0}
          ray.worker.gpu: {resources: {CPU: 8, GPU: 4}}
        """)
    require_possible({"cpu": 8.0, "gpu": 4.0})
    for impossible in ({"gpu": 5.0}, {"cpu": 64.0}):
        with pytest.raises(ClusterError, match="those that the autoscaler may add"):
            require_possible(impossible)
    for unreadable in ("", "[", "available_node_types: {a: {node_config: {}}}"):
        config.write_text(unreadable)
        require_possible({"gpu": 5.0})


def test_gpus_that_nobody_asks_for_are_mentioned(shared_ray):
    assert hint({"cpu": 1.0}) == "The cluster has 2 GPUs, none asked: resources_per_trial={'cpu': 1, 'gpu': 1}"
    assert hint({"cpu": 2.0, "gpu": 0.0}).endswith("resources_per_trial={'cpu': 2, 'gpu': 1}")
    assert hint({"cpu": 1.0, "gpu": 0.5}) == ""


@pytest.mark.parametrize(
    "resources",
    [
        {"cpu": 1.0},
        {"cpu": 1.5},
        {"cpu": 0.0, "gpu": 1 / 3},
        {"cpu": 0.0, "gpu": 0.4},
        {"cpu": 0.0, "gpu": 0.7},
        {"cpu": 1.0, "gpu": 2.0},
        {"cpu": 0.1, "a100": 1 / 6},
        {"cpu": 1.0, "gpu": 3.0},
    ],
)
def test_slots_are_as_many_as_ray_gives(shared_ray, resources):
    factory = placement(resources)
    groups = [placement_group(factory.bundles) for _ in range(slots(resources) + 1)]
    assert all(group.wait(30) for group in groups[:-1])
    assert not groups[-1].wait(0.1)
    for group in groups:
        remove_placement_group(group)
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU") != 4 or ray.available_resources().get("GPU") != 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_the_trials_keep_busy(shared_ray):
    assert taken_up({"cpu": 2.0}) == {"unit": "CPU", "total": 4.0, "per_trial": 2.0}
    assert taken_up({"cpu": 2.0, "gpu": 0.5}) == {"unit": "GPU", "total": 2.0, "per_trial": 0.5}
    assert taken_up({"cpu": 0.0, "gpu": 0.0, "a100": 1.0}) == {"unit": "a100", "total": 1.0, "per_trial": 1.0}


# storage


def test_on_one_machine_a_folder_must_only_be_writable(shared_ray, tmp_path, monkeypatch):
    assert machines() == 1
    require_shared(None)
    require_shared(str(tmp_path / "made" / "for it"))
    require_shared(f"file://{tmp_path}/made/for%20it")
    monkeypatch.chdir(tmp_path)
    require_shared("relative", on=nodes())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    (tmp_path / "file").write_text("")
    for wrong, reason in (
        (tmp_path / "file" / "in it", "Not a directory"),
        ("/proc/nothing", "No such file or directory"),
    ):
        with pytest.raises(
            ClusterError, match=rf"can be written, but got '{re.escape(str(wrong))}': {reason}\. Use a folder that all"
        ):
            require_shared(str(wrong))


def test_a_uri_must_be_writable_from_a_node(shared_ray):
    require_shared("mock:///bucket/folder")  # pyarrow's own, in memory
    for wrong in ("nonsense://bucket/folder", "hdfs://127.0.0.1:1/folder"):
        with pytest.raises(
            ClusterError, match=rf"that every node can write to, but got '{wrong}'; on .*: it cannot be written: "
        ):
            require_shared(wrong)


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory):
    """A simulated cluster of two nodes on this machine, and one that to Ray is another: at an address of its own, with a folder
    `private` of its own, and `unwritable` only to be read.

    Returns: the folder that these are in, the cluster, and the process of that other machine.
    """
    shared = tmp_path_factory.mktemp("shared")
    for name in ("private", "unwritable"):
        (shared / name).mkdir()
    with quiet(), ExitStack() as stack:
        shut_down()
        cluster = Cluster(head_node_args={"num_cpus": 1, "include_dashboard": False}, initialize_head=True)
        stack.callback(cluster.shutdown)
        cluster.add_node(num_cpus=1)
        log = stack.enter_context((shared / "log").open("w"))
        command = f"""
            mount -t tmpfs none {shared}/private && mount --bind {shared}/unwritable {shared}/unwritable &&
            mount -o remount,bind,ro {shared}/unwritable &&
            exec ray start --address={cluster.address} --block --node-ip-address=127.0.0.2 --num-cpus=1
        """
        own_view = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        other = subprocess.Popen(
            [*own_view, "sh", "-c", command], env={**os.environ, "PATH": path}, stdout=log, stderr=log
        )
        stack.callback(other.wait, 60)
        stack.callback(other.terminate)
        stack.enter_context(connected(cluster.address))
        deadline = time.monotonic() + 120
        while len(nodes()) < 3:
            assert other.poll() is None, (shared / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield shared, cluster, other


def test_machines_are_counted_not_nodes(three_nodes):
    assert len(nodes()) == 3
    assert machines() == 2
    assert slots({"cpu": 1.0}) == 3
    with pytest.raises(ClusterError, match=r"the largest node \(of 3\) has {'cpu': 1}"):
        require_possible({"cpu": 2.0})


def test_a_folder_that_another_machine_does_not_see_is_named_with_the_machine(three_nodes):
    shared, _, _ = three_nodes
    require_shared(str(shared))
    require_shared(str(shared), on=nodes())
    with pytest.raises(ClusterError) as caught:
        require_shared(str(shared / "private"))
    assert f"shares with this one, but got '{shared}/private'; on " in str(caught.value)
    assert " (127.0.0.2): what this program has written there is not to be seen. Use a folder that all" in str(
        caught.value
    )
    with pytest.raises(ClusterError, match=r"\(127.0.0.2\): it cannot be written: Read-only file system"):
        require_shared(str(shared / "unwritable"))
    here = [node for node in nodes() if node.address != "127.0.0.2"]
    assert len(here) == 2
    require_shared(str(shared / "private"), on=here)
    assert list((shared / "private").iterdir()) == []
    require_shared("mock:///bucket")


def test_a_node_that_is_gone_does_not_count(three_nodes):
    _, cluster, _ = three_nodes
    cluster.remove_node(cluster.add_node(num_cpus=7))
    with quiet():
        deadline = time.monotonic() + 60
        while sum(node["Alive"] for node in ray.nodes()) > 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert len(ray.nodes()) == 4
    assert len(nodes()) == 3
    with pytest.raises(ClusterError, match=r"the largest node \(of 3\) has {'cpu': 1}"):
        require_possible({"cpu": 7.0})


def test_a_machine_that_does_not_answer_is_named(three_nodes):
    shared, _, other = three_nodes
    halted = [other.pid, *descendants(other.pid)]
    for process in halted:
        os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(ClusterError, match=r"\(127.0.0.2\): nothing has answered within 2 s"):
            require_shared(str(shared), timeout_seconds=2.0)
    finally:
        for process in halted:
            os.kill(process, signal.SIGCONT)
