"""connected(): which Ray is joined or started, what is said where none can be, and that nothing else is printed."""

import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import ray
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from lr_search.errors import ClusterError, InvalidInputError, MissingPackageError
from lr_search_ray.cluster.address import chosen_address, require_answer, same
from lr_search_ray.cluster.connecting import connected
from lr_search_ray.cluster.quiet import quiet
from tests.helpers import on_ray
from tests.helpers.processes import ROOT, python, write

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("no_ray")]

METADATA = b"CLUSTER_METADATA", b"cluster"  # key and namespace, in which a cluster says what it runs on


@pytest.fixture(scope="module")
def address():
    """A Ray that this process has started as a user does, and that others can join. Returns: where it answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with quiet():  # in which what ray.init sets in the environment stays
            on_ray.user_ray()
            yield ray.get_runtime_context().gcs_address
        on_ray.stop_ray()


@pytest.fixture
def nobody():
    """A port that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def silent():
    """A port where something listens that is not Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Python processes that are started see no others: to them this machine runs no Ray."""
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec unshare -rpf --mount-proc {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # where a Ray that was started would be noted


def refusal(*arguments, **options):
    with pytest.raises((ClusterError, InvalidInputError)) as caught, connected(*arguments, **options):
        pytest.fail("it connected")
    return str(caught.value)


# which address is meant


def test_without_an_address_it_is_what_ray_address_names_and_else_a_ray_of_its_own(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert chosen_address(None) == "local"
    assert chosen_address("auto") == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")  # as `ray job submit` sets it
    assert chosen_address(None) == chosen_address("auto") == "10.0.0.5:6379"
    assert chosen_address("local") == "local"
    assert chosen_address("node1:7000") == "node1:7000"
    assert chosen_address("[::1]:6379") == "[::1]:6379"


@pytest.mark.parametrize(
    "wrong", ["", "node1", "node1:", ":6379", "node1:port", "node1:99999", "me@node1:6379", "a:1/b", 6379]
)
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=r"must be 'auto', 'local' or 'host:port'.*got address="):
        chosen_address(wrong)


def test_the_ray_client_and_a_dashboards_url_are_refused_with_the_way_out(monkeypatch):
    with pytest.raises(InvalidInputError, match=r"must run on the cluster.*address='ray://head:10001'.*ray job submit"):
        chosen_address("ray://head:10001")
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")
    with pytest.raises(
        InvalidInputError, match=r"RAY_ADDRESS='http://head:8265'.*ray job submit --address http://head:8265 "
    ):
        chosen_address(None)


def test_a_machine_has_several_addresses():
    own = ray.util.get_node_ip_address()
    assert same("localhost:6379", f"{own}:6379")
    assert same(f"{own}:6379", f"{own}:6379")
    assert not same("localhost:6380", f"{own}:6379")
    assert not same("203.0.113.1:6379", f"{own}:6379")
    assert not same("no-such-host.invalid:6379", f"{own}:6379")


# nobody answers, or not as hoped


def test_where_nothing_listens_that_is_said_at_once(nobody, monkeypatch):
    with pytest.raises(
        ClusterError, match=rf"must answer at 127.0.0.1:{nobody}, but nothing does: .*Connection refused"
    ):
        require_answer(f"127.0.0.1:{nobody}", 60)
    with pytest.raises(ClusterError, match=r"at no-such-host.invalid:6379, but nothing does: .*not known"):
        require_answer("no-such-host.invalid:6379", 60)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{nobody}")
    with pytest.raises(ClusterError, match=r"\(the environment variable RAY_ADDRESS\)"):
        require_answer(f"127.0.0.1:{nobody}", 60)


def test_where_something_else_listens_the_time_limit_holds_and_no_process_stays(silent, capfd):
    before = on_ray.children()
    with pytest.raises(
        ClusterError, match=rf"127.0.0.1:{silent} must answer within 0.5 s, but did not.*something else listens"
    ):
        require_answer(f"127.0.0.1:{silent}", 0.5)
    assert on_ray.children() <= before
    assert capfd.readouterr() == ("", "")


def test_what_does_not_end_in_time_is_ended(monkeypatch, tmp_path, silent):
    code = f"import pathlib, time; print(flush=True); time.sleep(20); pathlib.Path('{tmp_path}', 'ended').touch()"
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    with pytest.raises(ClusterError, match=r"must answer within 0\.1 s"):
        require_answer(f"127.0.0.1:{silent}", 0.1)
    assert not (tmp_path / "ended").exists()


def test_a_cluster_that_answers_can_be_joined(address, capfd):
    require_answer(address, 60)
    assert capfd.readouterr() == ("", "")


def test_another_ray_or_python_on_the_cluster_is_named(address):
    key, namespace = METADATA
    kept = _internal_kv_get(key, namespace=namespace)
    changed = json.loads(kept) | {"ray_version": "2.9.3", "python_version": "3.8.1"}
    _internal_kv_put(key, json.dumps(changed).encode(), namespace=namespace)
    try:
        with pytest.raises(
            ClusterError, match=rf"got Ray 2.9.3 and Python 3.8.1 there, Ray {ray.__version__} and Python 3"
        ):
            require_answer(address, 60)
    finally:
        _internal_kv_put(key, kept, namespace=namespace)


def test_a_cluster_that_wants_a_token_says_so(address, monkeypatch):
    if "RAY_AUTH_MODE" not in os.environ:
        pytest.skip("this Ray starts clusters that want no token")
    monkeypatch.delenv("RAY_AUTH_MODE")  # a Ray that is started has one, and sets this for its own program
    with pytest.raises(ClusterError, match=r"takes only programs that have its token.*RAY_AUTH_MODE=token"):
        require_answer(address, 60)


def test_a_program_on_a_machine_that_is_no_node_is_told_to_go_there(address, alone):
    with pytest.raises(ClusterError, match=r"this machine has none\. Run .*ray job submit.*ray start --address="):
        require_answer(address, 2)


def test_auto_without_a_cluster(alone):
    with pytest.raises(ClusterError, match=r"address='auto' must find a Ray cluster .* but there is none"):
        require_answer("auto", 60)


def test_what_ray_needs_for_its_dashboard_is_named_before_anything_is_started(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was started"))
    monkeypatch.setitem(sys.modules, "ray.dashboard.optional_deps", None)
    with pytest.raises(MissingPackageError, match=r'pip install "ray\[default\]"'), connected(dashboard=True):
        pytest.fail("it connected")


# a Ray that runs in this process


def test_a_running_ray_is_used_and_left_running(address):
    for given in (None, "auto", address, address.replace(ray.util.get_node_ip_address(), "localhost")):
        with connected(given):
            assert ray.get_runtime_context().gcs_address == address
    with pytest.raises(RuntimeError, match="mine"), connected():
        raise RuntimeError("mine")
    assert ray.is_initialized()


def test_a_running_ray_is_not_another(address, nobody):
    told = refusal(f"127.0.0.1:{nobody}")
    assert (
        f"connected to, {address}, but got '127.0.0.1:{nobody}'. Leave address out, or call ray.shutdown() first."
        in told
    )
    assert "got 'local'" in refusal("local")
    assert ray.is_initialized()


def test_a_running_ray_has_its_runtime_env_already(address):
    assert "runtime_env must be given to the ray.init() call" in refusal(runtime_env={"env_vars": {"A": "1"}})


def test_a_ray_through_its_client_cannot_be_used(address, monkeypatch):
    monkeypatch.setattr("lr_search_ray.cluster.connecting.ray_client.is_connected", lambda: True)
    assert "must run on the cluster, but this one is connected through the Ray Client" in refusal()


# quiet()


def test_quiet_puts_back_what_it_and_ray_change(monkeypatch):
    logger = logging.getLogger("ray")
    handler, before = logging.NullHandler(), logger.level
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    monkeypatch.setenv("PYTHONBREAKPOINT", "mine")
    monkeypatch.delenv("RAY_CHDIR_TO_TRIAL_DIR", raising=False)
    environment, ours = dict(os.environ), signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt), quiet():
        assert os.environ["RAY_AIR_NEW_OUTPUT"] == os.environ["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert not logger.isEnabledFor(logging.ERROR)
        assert not ray._private.worker._worker_logs_enabled
        os.environ["PYTHONBREAKPOINT"] = "ray's"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logger.addHandler(handler)
        raise KeyboardInterrupt
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGTERM) == ours
    assert logger.level == before
    assert handler not in logger.handlers


def test_verbose_and_telemetry_leave_ray_its_own():
    before = ray._private.worker._worker_logs_enabled
    with quiet(verbose=True, telemetry=True):
        assert logging.getLogger("ray").isEnabledFor(logging.INFO)
        assert ray._private.worker._worker_logs_enabled == before


# in processes of their own

HIDDEN = """
import sys

class Hide:
    def __init__(self, name):
        self.name = name
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in ("ray", "pyarrow"):
    sys.meta_path.insert(0, Hide(name))
    try:
        import lr_search_ray
    except ImportError as error:
        print(type(error).__name__, error, "|", type(error.__cause__).__name__)
    del sys.meta_path[0]
"""


def test_without_ray_or_what_tune_needs_the_import_says_what_to_install(tmp_path):
    told = 'MissingPackageError lr_search_ray needs Ray Tune: pip install "lr-search[ray]". |'
    lines = python(tmp_path, write(tmp_path / "hidden.py", HIDDEN)).splitlines()
    assert lines == [f"{told} ModuleNotFoundError", f"{told} ImportError"]


TUNE = """
import os, signal, sys, time
from pathlib import Path
import ray
from ray import tune
from lr_search_ray.cluster.connecting import connected

folder, verbose = Path(sys.argv[1]), sys.argv[2] == "verbose"

class Trial(tune.Trainable):
    def step(self):
        print("printed by a worker")
        if self.config["kind"] == "raises":
            raise RuntimeError("user code")
        if self.config["kind"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"loss": 1.0, "done": self.iteration == 2}
    def save_checkpoint(self, path):
        Path(path, "state").write_text("")
    def load_checkpoint(self, path):
        pass

with connected(verbose=verbose):
    results = tune.Tuner(
        tune.with_resources(Trial, {"cpu": 1}),
        param_space={"kind": tune.grid_search(["good", "raises", "killed"])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(
            verbose=2 if verbose else 0, storage_path=str(folder), failure_config=tune.FailureConfig(max_failures=int(not verbose))
        ),
    ).fit()
    time.sleep(2)  # what Ray prints comes from threads
written = {path.name for path in folder.rglob("*")} & {"params.json", "progress.csv", "result.json"}
(folder / "seen").write_text(f"{len(results)} trials, {results.num_errors} failed, {sorted(written)}")
"""


def tune(folder, how):
    """Three Tune trials, of which one raises and one is killed. Returns: what the process wrote to stdout and stderr."""
    write(folder / "tune.py", TUNE)
    command = [sys.executable, "-W", "error", "tune.py", str(folder), how]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in environment.items() if not name.startswith(("RAY_", "TUNE_"))}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (folder / "seen").read_text() == "3 trials, 2 failed, []"
    return ran.stdout, ran.stderr


def test_a_whole_tune_run_prints_nothing_though_trials_fail_and_workers_die(tmp_path):
    assert tune(tmp_path, "quiet") == ("", "")


def test_verbose_gives_rays_output_back(tmp_path):
    printed, logged = tune(tmp_path, "verbose")
    assert "Started a local Ray instance" in logged
    assert "printed by a worker" in printed + logged
    assert "RuntimeError: user code" in printed + logged
    assert "A worker died or was killed" in printed + logged


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
import ray
from lr_search_ray.cluster.connecting import connected

def children():
    return [number for each in Path("/proc/self/task").glob("*/children") for number in each.read_text().split()]

def interrupt():
    while not children():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in the background of a shell
for when in ("starting", "running"):
    if when == "starting":
        threading.Thread(target=interrupt, daemon=True).start()
    try:
        with connected("local"):
            if when == "starting":
                print("it was not interrupted")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print(when, ray.is_initialized(), children())
"""


def test_ctrl_c_leaves_nothing_running(tmp_path):
    printed = python(tmp_path, write(tmp_path / "interrupted.py", INTERRUPTED))
    assert printed == "starting False []\nrunning False []\n"


JOINS = """
import os, sys
import ray
import lr_search_ray.cluster.connecting as ours
from lr_search.errors import ClusterError

with ours.connected(runtime_env={"env_vars": {"GIVEN": "yes"}}):
    print(ray.get_runtime_context().gcs_address, ray.get(ray.remote(lambda: os.environ["GIVEN"]).remote()))
print(ray.is_initialized())
for wrong in ({"working_dir": "nowhere"}, {"conda": "no-such-environment"}, {"py_executable": "no-such-python"}):
    if "py_executable" in wrong:
        ours.SETUP_SECONDS = 2.0  # which Ray tries for a minute, and holds up who comes after it
    try:
        with ours.connected(runtime_env=wrong):
            print("it connected")
    except ClusterError as error:
        print("|".join(str(error).splitlines()))
"""
TOLD = (
    r".*nowhere.* existing",
    r"runtime_env must be one that can be set up there, but .*\.$",
    r"runtime_env must be one that workers start in, but none has within 2 s\.",
)


def test_ray_address_is_joined_with_a_runtime_env_that_can_be_set_up_and_left_running(address, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    joined, running, *refused = python(tmp_path, write(tmp_path / "joins.py", JOINS)).splitlines()
    assert len(refused) == len(TOLD)
    for line, told in zip(refused, TOLD, strict=True):
        assert re.search(f"^The cluster at {address} cannot be joined: {told}", line), line
    assert (joined, running) == (f"{address} yes", "False")
    assert ray.get(ray.put("still there")) == "still there"
