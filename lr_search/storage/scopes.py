"""What the studies of one comparison have in common: which parts of their plans must agree, with which other studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lr_search.errors import FingerprintError
from lr_search.storage.fingerprints.differences import SETTINGS, THEN_NOW, differences

FORMAT = 2  # of a plan; 1 recorded one batch of the training data, and none of the others
_MOST_WORDS = 8  # differences that are told
Scope = tuple[Any, ...]


class Known:
    """What was first recorded in each scope: the workload, an optimizer, a seed, a strategy, a schedule."""

    def __init__(self) -> None:
        self._first: dict[Scope, tuple[str, dict[str, Any]]] = {}

    def add(self, source: str, plan: Mapping[str, Any]) -> None:
        """Record a plan's parts, where nothing is recorded of their scope."""
        for scope, values in _scopes(plan):
            self._first.setdefault(scope, (source, values))

    def against(self, source: str, plan: Mapping[str, Any]) -> list[str]:
        """In what a plan differs from what is recorded, a sentence each."""
        found: list[str] = []
        for scope, values in _scopes(plan):
            if scope in self._first:
                first, recorded = self._first[scope]
                found += differences(recorded, values, (first, source))
        return list(dict.fromkeys(found))


def require_goes_on(name: str, recorded: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to go on with a comparison that trained something else.

    Args:
        name: of the comparison, or of a study.
        recorded: the plans that the storage holds of it.
        present: those that are asked for now.

    Raises:
        FingerprintError: they differ; the message says in what.
    """
    older = [plan.get("format") for plan in recorded if plan.get("format") != FORMAT]
    if older:
        raise FingerprintError(
            f"A comparison goes on only where all that it began with is recorded, but {name!r} was stored by another version of "
            f"lr_search (format {older[0]}, this one writes {FORMAT}). load() reads it; to train more, give another name, or "
            "start over with fresh=True (--fresh)."
        )
    known = Known()
    for plan in recorded:
        known.add(THEN_NOW[0], plan)
    found = [words for plan in present for words in known.against(THEN_NOW[1], plan)]
    first: dict[str, str] = {}
    for words in [*found, *_own_optimizer(recorded, present)]:
        first.setdefault(words.partition(":")[0], words)  # once, and not for every seed
    if found := list(first.values()):
        more = [f"and {len(found) - _MOST_WORDS} more"] if len(found) > _MOST_WORDS else []
        raise FingerprintError(
            f"A comparison goes on only with what it began with, but of {name!r} {'; '.join(found[:_MOST_WORDS] + more)}. "
            "Give it another name, or start over with fresh=True (--fresh)."
        )


def _scopes(plan: Mapping[str, Any]) -> Iterator[tuple[Scope, dict[str, Any]]]:
    start = plan.get("fingerprint", {})
    whole = {**plan, **start}
    yield ("workload",), _of(whole, SETTINGS)
    yield ("optimizer", plan["optimizer"]), _of(start, ("optimizer",))
    of_seed = {k: v for k, v in start.items() if k == "precision" or k not in (*SETTINGS, "optimizer")}
    yield ("seed", plan["seed"]), of_seed
    if plan["kind"] == "search":
        strategy, schedule = plan["strategy"], plan["schedule"]
        settings = {f"the strategy {strategy!r}": plan["strategy_settings"] or "as it comes"}
        yield ("strategy", strategy), {**settings, **_of(plan, ("range_test", "ladder"))}
        yield ("searched", strategy, plan["optimizer"]), _of(plan, ("lr_range",))
        yield ("schedule", schedule), {f"the schedule {schedule!r}": plan["schedule_shape"], **_of(plan, ("shape",))}
        yield ("study", strategy, schedule, plan["optimizer"]), _of(plan, ("pruner", "search_shape", "default_lr"))
    elif plan["kind"] == "today":
        yield ("today",), {f"today's {name}": plan[name] for name in ("lr", "schedule", "optimizer")}
        yield ("today", plan["schedule"]), {"today's schedule": plan["schedule_shape"], **_of(plan, ("shape",))}
    elif plan["kind"] == "pilot":
        which = tuple(plan[name] for name in ("strategy", "schedule", "optimizer", "num_steps"))
        pilots = {f"the pilots of {plan['strategy']!r} under {plan['schedule']!r}": plan["schedule_shape"]}
        yield ("pilot", *which), {**pilots, **_of(plan, ("lr_range", "shape"))}
    elif plan["kind"] in ("range_test", "probe"):
        yield (plan["kind"], plan.get("ladder"), plan["optimizer"]), _of(plan, ("lr_range", "range_test"))


def _of(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _own_optimizer(recorded: Sequence[Mapping[str, Any]], present: Sequence[Mapping[str, Any]]) -> list[str]:
    """The workload's own optimizer is a part of it, whatever it is called."""
    names = {plan["optimizer"] for plan in recorded}
    then = next((plan for plan in recorded if plan.get("own_optimizer")), None)
    now = next((plan for plan in present if plan.get("own_optimizer")), None)
    if then is None or now is None or now["optimizer"] in names:
        return []
    changed = differences(_of(then["fingerprint"], ["optimizer"]), _of(now["fingerprint"], ["optimizer"]))
    called = f"the optimizer's name differs: {then['optimizer']!r} then, {now['optimizer']!r} now"
    return changed or [f"{called} (optimizers={{{then['optimizer']!r}: ...}} gives it the other)"]
