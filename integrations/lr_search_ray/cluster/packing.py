"""Workloads as bytes: packed once by the driver, unpacked by each worker."""

from __future__ import annotations

import io
import pickle
import socket
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, cast

from ray import cloudpickle

import lr_search
from lr_search.errors import LRSearchError, WorkloadError, require, user_code
from lr_search.storage.fingerprints.differences import differences
from lr_search.storage.fingerprints.fingerprint import OPTIMIZER_CALL, OWN_OPTIMIZER, fingerprint, fingerprints
from lr_search.workloads.subject import Subject
from lr_search.workloads.target import find_named, find_workload
from lr_search.workloads.workload import Workload
from lr_search_ray.cluster.unpicklable import Culprit, unpicklable

BUILT = ("model", "loss", "train_data", "valid_data", "test_data", "metrics", "param_groups", "combine")
SENT = tuple(field.name for field in fields(Workload) if field.name not in BUILT)
_EACH_TRAINING = ("model", "optimizer", "train_data", "valid_data", "test_data")
_SEND_CODE = (
    'Send the code along, with RayExecutor(runtime_env={"working_dir": "."}) or '
    "ray job submit --working-dir . -- python script.py; or install its package on every node."
)
_THERE_HERE = ("where it was started", "there")
_NO_SUCH_GPU = "Attempting to deserialize object on"  # torch's words for a tensor that was on a GPU


def packed(workloads: Mapping[str, Subject], factory: str | None = None, *, checked: bool = True) -> bytes:
    """All workloads of a comparison, in one piece: what they share is in it once.

    Functions and classes of a script or notebook go by value, with the globals they name; those of modules go by name.

    Args:
        workloads: by the names of their optimizers.
        factory: "pkg.mod:name", a workload or a function that returns one. The workers take from it the model, the loss,
            the data, the metrics, param_groups and combine, and nothing of them is pickled. It must build the same
            workload on each call.
        checked: whether `unpacked` makes sure that a training starts there from the same model, data and losses as here.

    Raises:
        WorkloadError: something cannot be pickled; the message says what, and the ways out.
        InvalidInputError: there is no such factory.
    """
    if factory is not None:
        in_main = factory.partition(":")[0] == "__main__"
        require(not in_main, "factory must be in a module that the workers can import", "Move it to one.", got=factory)
        find_named(factory)
    try:
        body: bytes = cloudpickle.dumps(dict(workloads) if factory is None else _settings(workloads))
    except Exception as error:
        raise _refused(workloads, factory, error) from error
    start = _start(workloads) if checked or factory is not None else None
    return pickle.dumps((lr_search.__version__, factory, start)) + body


def _start(workloads: Mapping[str, Subject]) -> dict[str, Any]:
    """The fingerprint of the first, of seed 0."""
    first = dict(list(workloads.items())[:1])
    (start,) = fingerprints(first, [0]).values()
    return {name: value for name, value in start.items() if name not in (OPTIMIZER_CALL, OWN_OPTIMIZER)}


def _settings(workloads: Mapping[str, Subject]) -> dict[str, dict[str, Any]]:
    """What is not built by the factory; the one optimizer may be."""
    sent = {
        name: {field: getattr(workload, field) for field in SENT if hasattr(workload, field)}
        for name, workload in workloads.items()
    }
    if len(sent) == 1 and "optimizer" in next(iter(sent.values())):
        (only,) = sent.values()
        if unpicklable(only["optimizer"], "optimizer") is not None:
            del only["optimizer"]
    return sent


def _refused(workloads: Mapping[str, Subject], factory: str | None, error: Exception) -> WorkloadError:
    """Word what cannot be pickled, and the ways out."""
    rule = "A workload must be one that can be pickled, to reach Ray's workers"
    for name, workload in workloads.items():
        for field in (
            entry.name for entry in fields(cast("Any", workload)) if factory is None or entry.name not in BUILT
        ):
            several = field == "optimizer" and len(workloads) > 1
            root = f"optimizers[{name!r}]" if several else f"workload.{field}"
            culprit = unpicklable(getattr(workload, field), root)
            if culprit is not None:
                return WorkloadError(f"{rule}, but {culprit}. {_ways_out(field, culprit, factory)}")
    return WorkloadError(f"{rule}, but pickling it raised {type(error).__name__}: {error}.")


def _ways_out(field: str, culprit: Culprit, factory: str | None) -> str:
    often = "anew in every training, on the worker" if field in _EACH_TRAINING else "on the worker"
    ways = [f"Make it inside the function: {field}() is called {often}."]
    if culprit.of_main:
        ways.append(
            "Or move the function to a module: what a script or notebook cell defines is sent with all the globals it "
            "names, what a module defines is sent by its name."
        )
    if factory is None:
        ways.append(
            "Or name a function in a module that builds the workload, which each worker then calls itself: "
            'RayExecutor(factory="pkg.mod:function"), on the command line '
            "lr-search compare pkg.mod:function --executor ray."
        )
    return " ".join(ways)


def unpacked(data: bytes) -> dict[str, Subject]:
    """The workloads that `packed` packed, on a worker; enter the driver's `DriverPath` first.

    Raises:
        WorkloadError: they cannot be read or built here, or they are not the same workload here.
    """
    stream = io.BytesIO(data)
    version, factory, start = pickle.load(stream)
    if version != lr_search.__version__:
        raise WorkloadError(
            f"Every node must have the same version of lr_search, but got {version} where the comparison was started and "
            f"{lr_search.__version__} on {socket.gethostname()}. Install the same on both."
        )
    try:
        with user_code:
            sent = pickle.load(stream)
            base = None if factory is None else find_workload(factory)
            built = dict(sent) if base is None else {name: replace(base, **settings) for name, settings in sent.items()}
            found = None if start is None else fingerprint(next(iter(built.values())), 0)
    except Exception as error:
        raise _unreadable(error) from error
    if start is not None and found is not None:
        _require_same(factory, start, found)
    return built


def _unreadable(error: Exception) -> WorkloadError:
    """Word why a worker cannot read or build the workloads."""
    host = socket.gethostname()
    cause = error.__cause__ if isinstance(error, LRSearchError) else error
    if isinstance(cause, ModuleNotFoundError):
        return WorkloadError(
            f"What a workload imports must be on every node, but there is no module {cause.name!r} on {host}. {_SEND_CODE}"
        )
    why = str(error) if isinstance(error, LRSearchError) else f"{type(error).__name__}: {error}"
    if _NO_SUCH_GPU in why:
        return WorkloadError(
            f"A workload's tensors must be on a device that the worker has, but on {host}: {why.partition('. ')[0]}. "
            "Leave the data on the CPU, for each batch is put on the device by itself; or give each trial a GPU: "
            'RayExecutor(resources_per_trial={"cpu": 1, "gpu": 1}).'
        )
    return WorkloadError(
        f"A workload must be readable on every node, but got on {host}: {why.rstrip('.')}. "
        f"The code must be the same there. {_SEND_CODE}"
    )


def _require_same(factory: str | None, sent: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raises: WorkloadError: a training starts elsewhere here than on the driver."""
    found = differences(sent, {name: here[name] for name in here if name != OPTIMIZER_CALL}, _THERE_HERE)
    if not found:
        return
    rule = (
        "A workload must be the same on every node"
        if factory is None
        else (f"{factory} must build the workload that is compared, the same on each call")
    )
    remedy = (
        "Have the same files and the same code on both"
        if factory is None
        else "Name the function that built the workload given to compare()"
    )
    raise WorkloadError(
        f"{rule}, but on {socket.gethostname()} {'; '.join(found)}. "
        f"{remedy}, and draw random numbers from generators with a seed: torch.Generator().manual_seed(0)."
    )
