"""Whether a comparison that the storage holds is the one that is asked for now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.storages import BaseStorage

from lr_search.storage.fingerprints.fingerprint import Starts, fingerprint
from lr_search.storage.scopes import require_goes_on
from lr_search.studies.opening import plan_attribute, recorded_plans
from lr_search.studies.plan import StudyPlan


def require_unchanged(storage: BaseStorage, name: str, plans: Sequence[StudyPlan], starts: Starts) -> None:
    """Refuse to go on with a comparison that began with something else, before anything is stored, also where nothing is left to train.

    Args:
        storage: where it is kept.
        name: of the comparison.
        plans: the studies that are asked for.
        starts: the fingerprints, by optimizer and seed.

    Raises:
        FingerprintError: it did; the message says in what they differ.
    """
    recorded = recorded_plans(storage, name)
    if recorded:
        present = [plan_attribute(name, plan, starts) for plan in plans]
        require_goes_on(name, recorded, [*present, *_at_a_recorded_seed(recorded, plans)])


def _at_a_recorded_seed(recorded: Sequence[Mapping[str, Any]], plans: Sequence[StudyPlan]) -> list[dict[str, Any]]:
    """Where only new seeds are asked for, what a training would begin with at a seed that was."""
    seeds = [plan["seed"] for plan in recorded if plan["kind"] != "confirm"]
    if not seeds or {plan.seed for plan in plans} & set(seeds):
        return []
    start = fingerprint(plans[0].workload, seeds[0])
    return [{"kind": "", "optimizer": plans[0].optimizer, "seed": seeds[0], "fingerprint": start}]
