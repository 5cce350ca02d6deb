"""Comparisons put together: the studies of several storages as those of one, if they trained the same."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from lr_search.errors import FingerprintError
from lr_search.storage.fingerprint import SETTINGS, differences
from lr_search.storage.records import StudyRecord

_SAME = ("num_steps", "objective", "direction")  # in every study
OF_OPTIMIZER = (*SETTINGS, "optimizer")  # in every study with the same optimizer
OF_SEED = ("initial weights", "first batch", "first loss")  # in every study with the same optimizer and seed
OF_STRATEGY = ("strategy_settings", "lr_range", "range_test", "pruner")  # where the strategy has the same name
OF_SCHEDULE = ("schedule_shape", "search_shape")  # where the schedule has the same name


def merged(sources: Sequence[tuple[str, Sequence[StudyRecord]]]) -> list[StudyRecord]:
    """The studies of all sources, in their order; each study once.

    Args:
        sources: (the comparison's name, its studies).

    Raises:
        FingerprintError: they trained different things, or one name means different strategies or schedules.
    """
    seen: dict[Any, tuple[str, dict[str, Any]]] = {}
    kept: dict[Any, StudyRecord] = {}
    twice = 0
    for place, (name, records) in enumerate(sources, start=1):
        for study in records:
            _compare(seen, f"{name!r} ({place})", study)
            key = _identity(study)
            if key in kept:
                twice += 1
            if key not in kept or _finished(study) > _finished(kept[key]):
                kept[key] = study
    if twice:
        warnings.warn(
            f"{twice} {'study is' if twice == 1 else 'studies are'} in more than one of the comparisons that are put together: "
            "each is taken once, from where more of it is finished.",
            UserWarning,
            stacklevel=2,
        )
    return list(kept.values())


def _identity(study: StudyRecord) -> tuple[Any, ...]:
    """Two studies with the same identity hold the same trainings."""
    if study.kind != "search":
        return (study.name,)
    return tuple(study.plan[key] for key in ("strategy", "schedule", "optimizer", "seed"))


def _finished(study: StudyRecord) -> int:
    return sum(trial.state != "RUNNING" for trial in study.trials)


def _compare(seen: dict[Any, tuple[str, dict[str, Any]]], source: str, study: StudyRecord) -> None:
    """Check a study against the first of its kind."""
    plan = study.plan
    whole = {**plan, **plan.get("fingerprint", {})}
    scopes: list[tuple[tuple[Any, ...], Sequence[str]]] = [
        (("workload",), _SAME),
        (("optimizer", plan["optimizer"]), OF_OPTIMIZER),
        (("seed", plan["optimizer"], plan["seed"]), OF_SEED),
    ]
    if study.kind == "search":
        scopes.append((("strategy", plan["strategy"]), OF_STRATEGY))
        scopes.append((("schedule", plan["schedule"]), OF_SCHEDULE))
    for scope, keys in scopes:
        present = {key: whole[key] for key in keys if key in whole}
        first, recorded = seen.setdefault(scope, (source, present))
        shared = {key: value for key, value in present.items() if key in recorded}
        if changed := differences(recorded, shared):
            values = "; ".join(f"{key}: {recorded[key]!r} in {first}, {present[key]!r} in {source}" for key in changed)
            what = " ".join(str(word) for word in scope)
            raise FingerprintError(
                f"Comparisons are put together only where they trained the same, but the {what} differs: {values}. "
                "Load them one by one; or give what differs another name, and run it again."
            )
