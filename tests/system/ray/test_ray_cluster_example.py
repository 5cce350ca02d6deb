"""examples/ray_cluster: its files are what Ray takes, and its submit script does what it says."""

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import lr_search as lrs
from lr_search.workloads.target import find_workload
from tests.helpers.processes import ROOT
from tests.helpers.ray_drivers import TIMES, alive, descendants, until

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("no_ray")]

EXAMPLE = ROOT / "examples" / "ray_cluster"
# what `ray job submit` does with what comes behind its --, but here
STANDS_IN = """#!/bin/sh
while [ "$1" != -- ]; do echo "$1"; shift; done
shift
exec "$@"
"""


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """With the programs that lie beside Python, or in `folder`; trials and report go to `folder`."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "STORAGE": f"sqlite:///{folder / 'trials.db'}",
        "REPORT": str(folder / "report"),
        "SHARED": str(folder / "shared"),
        **changes,
    }


def submit(settings: dict[str, str], *words: str) -> str:
    """Returns: what the script wrote."""
    ran = subprocess.run(
        [EXAMPLE / "submit.sh", *words],
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.mark.parametrize("name", ["cluster.yaml", "on_premise.yaml"])
def test_ray_up_takes_the_file(name: str) -> None:
    config: dict[str, Any] = yaml.safe_load((EXAMPLE / name).read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["cluster_name"] == config["cluster_name"]
    with pytest.raises(Exception, match="unknown_key"):  # Ray's check does look
        validate_config({**prepared, "unknown_key": 1})


def test_the_cluster_runs_the_ray_and_python_that_are_tested() -> None:
    config = yaml.safe_load((EXAMPLE / "cluster.yaml").read_text())
    _, _, tag = config["docker"]["image"].partition(":")
    version, _, python = tag.partition("-py")
    assert version in (EXAMPLE / "README.md").read_text()
    assert tuple(int(part) for part in version.split(".")[:2]) >= (2, 60)  # as pyproject.toml asks for
    assert int(python[0]) == 3
    assert int(python[1:]) >= 11
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0}


def test_the_workload_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    try:
        workload = find_workload("workload:workload")
    finally:
        sys.modules.pop("workload", None)
    schedule = lrs.schedules.by_name("constant", lr=0.1, num_steps=workload.num_steps)
    *_, last = lrs.train(workload, schedule, seed=0)
    assert last.metrics["loss"] < 0.3  # ln 10 = 2.3 where nothing is learned


def test_what_is_submitted_is_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "ray").write_text(STANDS_IN)
    (tmp_path / "ray").chmod(0o755)
    written = submit(environment(tmp_path), "--budget", "2", "--dry-run")
    assert written.startswith("job\nsubmit\n--address\nhttp://127.0.0.1:8265\n--working-dir\n.\n")
    assert "digits: 12 studies (2 strategies x 2 schedules x 1 optimizer x 3 seeds), budget 2 full trainings" in written


@pytest.fixture
def head_node(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A head node with a dashboard, that takes jobs of who has its token. Yields: the environment of such a one."""
    pytest.importorskip("aiohttp_cors", reason='a head node that takes jobs needs pip install "ray[default]"')
    dashboard, agent, client = free_ports(3)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    settings = environment(tmp_path, **token, ADDRESS=f"http://127.0.0.1:{dashboard}")
    started = [
        *("ray", "start", "--head", "--block", "--port=0", "--node-ip-address=127.0.0.1", "--num-cpus=2"),
        *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", f"--ray-client-server-port={client}", "--disable-usage-stats"),
    ]
    with (tmp_path / "log").open("w") as log:
        node = subprocess.Popen(started, env=settings, stdout=log, stderr=log)
    try:
        until(lambda: node.poll() is not None or "Ray runtime started" in (tmp_path / "log").read_text())
        assert node.poll() is None, (tmp_path / "log").read_text()
        yield settings
    finally:
        rays = descendants(node.pid)
        node.terminate()
        with suppress(subprocess.TimeoutExpired):
            node.wait(60)
        node.kill()
        node.wait()
        for pid in alive(rays):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_submitted_to_a_head_node_it_gives_the_trials_of_a_run_without_ray(
    tmp_path: Path, head_node: dict[str, str]
) -> None:
    small = ("--budget", "2", "--seeds", "1")
    written = submit(head_node, *small)
    assert "Train with: " in written
    assert (tmp_path / "report" / "report.html").exists()
    assert list((tmp_path / "shared").iterdir()) == []

    (tmp_path / "local").mkdir()
    local = environment(tmp_path / "local")
    command = [
        *("lr-search", "compare", "workload:workload", "--name", "digits", *small),
        *("--storage", local["STORAGE"], "--out", local["REPORT"]),
        *("--strategies", "grid,range_test", "--schedules", "constant,sgdr"),
    ]
    subprocess.run(command, cwd=EXAMPLE, env=local, check=True, capture_output=True, timeout=200)
    ours, theirs = (lrs.load(each["STORAGE"], "digits").trials.drop(columns=TIMES) for each in (head_node, local))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
