"""The connection to Ray: for as long as a comparison runs, and no longer."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import ray
from ray._private import ray_constants
from ray.util.client import ray as ray_client

from lr_search.errors import ClusterError, MissingPackageError, quoted, require
from lr_search.executors.interrupts import interrupts_held
from lr_search_ray.cluster.address import RUN_THERE, chosen_address, require_answer, same
from lr_search_ray.cluster.folders import ray_folder, sweep
from lr_search_ray.cluster.quiet import quiet

SETUP_SECONDS = (
    660.0  # a little longer than Ray gives the setup itself; a worker that cannot be started it tries for ever
)
LOCALHOST = "127.0.0.1"


@contextmanager
def connected(
    address: str | None = None,
    *,
    runtime_env: Mapping[str, Any] | None = None,
    verbose: bool = False,
    dashboard: bool = False,
    telemetry: bool = False,
    timeout_seconds: float = 20.0,
) -> Iterator[None]:
    """Ray inside the block.

    A Ray that this process is connected to already is used, and left running. Another is left at the block's end, whatever ends it,
    and ended if it was started for the block.

    Args:
        address: "auto" or "host:port" of a cluster to join, or "local": a Ray of this program's own, which no other machine can
            reach. None: what the environment variable RAY_ADDRESS names (`ray job submit` sets it), else "local". No other Ray on
            this machine is ever joined unasked.
        runtime_env: Ray's: what is sent to the machines.
        verbose: whether Ray's own output is shown.
        dashboard: whether a Ray that is started here has its dashboard, on localhost only.
        telemetry: whether Ray's own setting of its usage statistics holds, rather than off. As of Ray 2.60 a Ray that a program starts
            reports nothing in any case; a cluster does what it was started with.
        timeout_seconds: how long a cluster has to answer.

    Raises:
        InvalidInputError: the address cannot be one.
        ClusterError: nobody answers there, or this program cannot join.
        MissingPackageError: the dashboard is asked for and not installed.
    """
    sweep()
    with quiet(verbose, telemetry=telemetry):
        if ray.is_initialized():
            _require_running(address, runtime_env)
            yield
            return
        meant = chosen_address(address)
        if meant != "local":
            require_answer(meant, timeout_seconds)
        elif dashboard:
            _require_dashboard()
        with ray_folder() if meant == "local" else nullcontext() as folder:
            try:
                with _failures_explained(meant):
                    with interrupts_held():  # ray.init, stopped half-way, leaves what it has started so far
                        _init(meant, folder, runtime_env, verbose, dashboard)
                    if runtime_env is not None:  # it is set up when the first worker starts
                        first = ray.remote(lambda: None).options(num_cpus=0, max_retries=0).remote()
                        ray.get(first, timeout=SETUP_SECONDS)
                yield
            finally:
                shut_down()


def shut_down() -> None:
    """Leave Ray, and end what was started with it."""
    waiting = inspect.signature(ray.shutdown).parameters.keys() & {"wait_for_processes"}  # an older Ray cannot
    ray.shutdown(**dict.fromkeys(waiting, True))  # or the processes' ends are reported as ResourceWarnings


def _init(
    address: str, folder: str | None, runtime_env: Mapping[str, Any] | None, verbose: bool, dashboard: bool
) -> None:
    local = address == "local"
    here: dict[str, Any] = {"_node_ip_address": LOCALHOST, "_temp_dir": folder} if local else {}
    with _loopback() if local else nullcontext():
        ray.init(
            address=address,
            runtime_env=None if runtime_env is None else dict(runtime_env),
            include_dashboard=dashboard,
            dashboard_host=LOCALHOST,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
            log_to_driver=verbose,
            **here,
        )


@contextmanager
def _loopback() -> Iterator[None]:
    """A Ray that is started inside listens on this machine's loopback alone: whoever reaches its ports can run code.

    Given a loopback address, Ray resolves it to the machine's outside one, unless it is told that there shall be no cluster, as it is by
    itself on Windows and macOS (ray-project/ray#18730).
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _failures_explained(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        where = (
            "Ray cannot be started on this machine"
            if address == "local"
            else f"The cluster at {address} cannot be joined"
        )
        raise ClusterError(f"{where}: {_reason(error)}") from error


def _require_dashboard() -> None:
    """Before anything is started: where ray.init finds that something is missing, it leaves half of Ray running."""
    try:
        importlib.import_module("ray.dashboard.optional_deps")
    except ImportError as error:
        raise MissingPackageError('dashboard=True needs more of Ray: pip install "ray[default]".') from error


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, ray.exceptions.GetTimeoutError):
        return f"runtime_env must be one that workers start in, but none has within {SETUP_SECONDS:g} s."
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"runtime_env must be one that can be set up there, but {lines[-1].rstrip('.')}."
    return f"{message}."


def _require_running(address: str | None, runtime_env: Mapping[str, Any] | None) -> None:
    """Raises: ClusterError: the Ray that this process is connected to is not the one that is meant, or cannot do."""
    if ray_client.is_connected():
        raise ClusterError(
            "A comparison's own process must run on the cluster, but this one is connected through the Ray Client (ray://). "
            f"{RUN_THERE}."
        )
    running = ray.get_runtime_context().gcs_address
    if address not in (None, "auto") and not same(chosen_address(address), running):
        raise ClusterError(
            f"address must be that of the Ray this process is connected to, {running}, but got {quoted(address)}. "
            "Leave address out, or call ray.shutdown() first."
        )
    require(
        runtime_env is None,
        "runtime_env must be given to the ray.init() call of a process that is connected to Ray already",
        "Give it there, or call ray.shutdown() first.",
        got=runtime_env,
    )
