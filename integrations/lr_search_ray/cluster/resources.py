"""What a cluster has, and whether it can give what a trial asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TypedDict

import ray
from ray.tune import PlacementGroupFactory

from lr_search.errors import ClusterError, quoted, require
from lr_search_ray.cluster.autoscaler import addable

RAY_NAMES = {"cpu": "CPU", "gpu": "GPU"}
MISTAKEN = {"cpus": "cpu", "gpus": "gpu", "num_cpus": "cpu", "num_gpus": "gpu"}
_UNITS = 10_000  # Ray counts in whole ten-thousandths, and drops what is below


class TakenUp(TypedDict):
    """What a comparison keeps busy, for its progress."""

    unit: str
    total: float
    per_trial: float


@dataclass(frozen=True)
class Node:
    """A node of the cluster that is alive.

    Args:
        id: Ray's.
        address: IP address of its machine.
        hostname: of its machine.
        resources: all it has, free or not, under Ray's names: CPU, GPU, ...
    """

    id: str
    address: str
    hostname: str
    resources: Mapping[str, float]


def checked_resources(resources: Mapping[str, float]) -> dict[str, float]:
    """What a trial asks for, with one CPU where none is given: a GPU alone would leave a worker without any.

    Args:
        resources: amounts >= 0 by name: "cpu", "gpu", "memory" (bytes), or a resource of the cluster's own. Several trials share a GPU
            where the amount is below 1.

    Raises:
        InvalidInputError: an amount or a name breaks a rule, or nothing is asked for.

    >>> checked_resources({"GPU": 0.5})
    {'cpu': 1.0, 'gpu': 0.5}
    """
    example = "For example {'cpu': 1, 'gpu': 0.5}."
    rule = "resources_per_trial must be a dictionary of amounts by resource"
    require(isinstance(resources, Mapping), rule, example, got=resources)
    checked: dict[str, float] = {}
    for given, amount in resources.items():
        require(
            isinstance(given, str) and bool(given.strip()), "a resource's name must be a string", example, got=given
        )
        name = given.lower() if given.lower() in RAY_NAMES else given
        meant = MISTAKEN.get(given.lower())
        require(meant is None, f"in resources_per_trial, the name of that resource is {meant!r}", got=given)
        require(name not in checked, "resources_per_trial must name a resource once", got=dict(resources))
        checked[name] = _amount(name, amount)
    checked = {"cpu": 1.0} | checked
    rule = "resources_per_trial must ask for more than 0 of something"
    require(any(checked.values()), rule, "Ray would start all trials at once.", got=dict(resources))
    return checked


def _amount(name: str, amount: float) -> float:
    number = isinstance(amount, Real) and not isinstance(amount, bool) and math.isfinite(amount) and amount >= 0
    require(number, f"resources_per_trial[{quoted(name)}] must be a number, 0 or more", got=amount)
    require(
        amount == 0 or _units(amount) > 0,
        f"resources_per_trial[{quoted(name)}] must be 0 or at least {1 / _UNITS}",
        got=amount,
    )
    whole = name != "gpu" or amount < 1 or float(amount).is_integer()
    require(whole, "resources_per_trial['gpu'] must be below 1, for trials that share a GPU, or whole", got=amount)
    return float(amount)


def nodes() -> list[Node]:
    """The nodes that are alive."""
    return [
        Node(node["NodeID"], node["NodeManagerAddress"], node["NodeManagerHostname"], dict(node["Resources"]))
        for node in ray.nodes()
        if node["Alive"]
    ]


def machines() -> int:
    """How many machines are alive; one can have several nodes."""
    return len({node.address for node in nodes()})


def require_possible(resources: Mapping[str, float]) -> None:
    """Raises: ClusterError: neither a node that is alive nor one that may still be added has what a trial asks for, even if idle."""
    asked = _for_ray(resources)
    alive = [node.resources for node in nodes()]
    if any(_fits(asked, has) for has in alive):
        return
    kinds = addable()
    if kinds is None or any(_fits(asked, has) for has in kinds):
        return
    largest = max([*alive, *kinds], key=lambda has: _share(asked, has))
    has = {name: largest.get(RAY_NAMES.get(name, name), 0.0) for name in resources}
    of = f"of {len(alive)}" + " and of those that the autoscaler may add" * bool(kinds)
    raise ClusterError(
        f"resources_per_trial must fit on one node, but got {_shown(resources)}, and the largest node ({of}) has {_shown(has)}. "
        "Ask for less, or use a cluster that has such a node (address)."
    )


def hint(resources: Mapping[str, float]) -> str:
    """What a user should know of the cluster before the trials start, in a line; empty where there is nothing."""
    asked, alive = _for_ray(resources), [node.resources for node in nodes()]
    if not any(_fits(asked, has) for has in alive):
        return f"No node has {_shown(resources)} yet: waiting for the cluster to add one."
    gpus = sum(has.get("GPU", 0) for has in alive)
    if gpus and not resources.get("gpu"):
        better = {**resources, "gpu": 1}
        return f"The cluster has {gpus:g} GPU{'s' * (gpus != 1)}, none asked: resources_per_trial={_shown(better)}"
    return ""


def slots(resources: Mapping[str, float]) -> int:
    """How many trials fit at once on the nodes that are alive, were they idle."""
    asked = _for_ray(resources)
    return sum(min(_times(name, amount, node.resources) for name, amount in asked.items()) for node in nodes())


def taken_up(resources: Mapping[str, float]) -> TakenUp:
    """What the trials keep busy: GPUs where they ask for some, else CPUs, else the first of what they ask for."""
    asked = _for_ray(resources)
    unit = next((name for name in ("GPU", "CPU") if name in asked), next(iter(asked)))
    total = sum(node.resources.get(unit, 0.0) for node in nodes())
    return {"unit": unit, "total": total, "per_trial": asked[unit]}


def placement(resources: Mapping[str, float]) -> PlacementGroupFactory:
    """What a trial asks for, in Tune's form: a trial is one worker on one node."""
    return PlacementGroupFactory([_for_ray(resources)])


def _for_ray(resources: Mapping[str, float]) -> dict[str, float]:
    return {RAY_NAMES.get(name, name): amount for name, amount in resources.items() if amount > 0}


def _units(amount: float) -> int:
    return int(amount * _UNITS)


def _fits(asked: Mapping[str, float], has: Mapping[str, float]) -> bool:
    return all(_units(amount) <= _units(has.get(name, 0.0)) for name, amount in asked.items())


def _share(asked: Mapping[str, float], has: Mapping[str, float]) -> float:
    """How much of what is asked a node has."""
    return sum(min(1.0, has.get(name, 0.0) / amount) for name, amount in asked.items())


def _times(name: str, amount: float, has: Mapping[str, float]) -> int:
    if name == "GPU" and amount < 1:  # a trial's share is on one GPU
        return int(has.get(name, 0.0)) * (_UNITS // _units(amount))
    return _units(has.get(name, 0.0)) // _units(amount)


def _shown(resources: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name!r}: {amount:g}" for name, amount in resources.items()) + "}"
