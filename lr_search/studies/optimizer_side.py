"""What each optimizer's own rules leave of a comparison: which strategies and schedules are run with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from lr_search.curves.probe import Ladder
from lr_search.errors import InvalidInputError, user_code
from lr_search.optimizers.character import character
from lr_search.optimizers.lr_ranges import UNKNOWN_KIND, kind_of_optimizer
from lr_search.optimizers.names import Rules, default_lr, rules_of
from lr_search.optimizers.param_groups import as_list
from lr_search.rng import preserved_rng, seed_everything
from lr_search.samplers.strategies import Strategy, defaults
from lr_search.studies.schedule_layout import PEAK, ScheduleLayout
from lr_search.workloads.optimizer_forms import ModelOptimizers
from lr_search.workloads.subject import Subject
from lr_search.workloads.trainable import Trainable
from lr_search.workloads.workload import PROBE_LR, Workload


@dataclass(frozen=True)
class Side:
    """One optimizer's side of a comparison.

    Args:
        workload: what is trained, with that optimizer.
        strategies: those that are run with it.
        layouts: the schedules by name: those that are run with it.
        default_lr: its own default LR; None where it has none.
        note: how that differs from what was asked, in words; empty where it does not.
        lr_range: (low, high) that every strategy searches.
        range_kind: the kind of optimizer that the range was laid out for; empty where it was asked for by number.
        range_test: the arguments of a range test.
        tested_range: (low, high) of the range tests, before they moved `lr_range`.
        own_ends: which of the range tests' start_lr, end_lr and extend were asked for.
        settled: whether range tests move the range no more.
    """

    workload: Subject
    strategies: Sequence[Strategy]
    layouts: Mapping[str, ScheduleLayout]
    default_lr: float | None = None
    note: str = ""
    lr_range: tuple[float, float] = (1e-5, 10.0)
    range_kind: str = ""
    range_test: Mapping[str, Any] = field(default_factory=dict)
    tested_range: tuple[float, float] = (1e-5, 10.0)
    own_ends: frozenset[str] = frozenset()
    settled: bool = False

    @property
    def num_studies(self) -> int:
        """Searches of one seed."""
        return len(self.strategies) * len(self.layouts)

    @property
    def needs_curves(self) -> bool:
        """Whether range tests come first."""
        return any(strategy.needs_curves for strategy in self.strategies)

    @property
    def ladders(self) -> list[Ladder]:
        """The ladders that are probed for each seed: strategies with the same ladder share it."""
        return list(dict.fromkeys(strategy.probe for strategy in self.strategies if strategy.probe is not None))


def side_of(
    name: str,
    workload: Subject,
    strategies: Sequence[Strategy],
    layouts: Mapping[str, ScheduleLayout],
    by_name: Callable[[str], ScheduleLayout],
) -> Side:
    """The side of one optimizer in a comparison.

    Args:
        name: the optimizer's, for messages.
        workload: with that optimizer.
        strategies: those that were asked for.
        layouts: the schedules that were asked for, by name.
        by_name: name -> the schedule of that name.

    Raises:
        InvalidInputError: a strategy needs the optimizer's default LR, and it has none.
    """
    kind = _class_of(workload)
    rules, lr = rules_of(kind), _default_lr(workload, kind)
    run = strategies if rules.searched else [next((s for s in strategies if s.needs_default), defaults)]
    for strategy in run:
        if strategy.needs_default and lr is None:
            raise _no_default(strategy, name, kind)
    left = _allowed(rules, layouts, by_name)
    return Side(workload, run, left, lr, _note(name, rules, run, layouts, left, lr))


def _no_default(strategy: Strategy, name: str, kind: type | None) -> InvalidInputError:
    called = "make_optimizer" if kind is None else kind.__name__
    return InvalidInputError(
        f"The strategy {strategy.name!r} needs an optimizer with a default learning rate, but {name!r} has none. "
        f"Give it one, such as functools.partial({called}, lr=1e-3), or leave the strategy out."
    )


def _allowed(
    rules: Rules, asked: Mapping[str, ScheduleLayout], by_name: Callable[[str], ScheduleLayout]
) -> dict[str, ScheduleLayout]:
    """Those of the asked schedules that the rules allow, else the first that they do."""
    if rules.schedules is None:
        return dict(asked)
    known = {name: by_name(name) for name in rules.schedules}
    shapes = [layout(PEAK) for layout in known.values()]
    allowed = {name: layout for name, layout in asked.items() if layout(PEAK) in shapes}
    return allowed or dict(list(known.items())[:1])


def _note(
    name: str,
    rules: Rules,
    run: Sequence[Strategy],
    asked: Mapping[str, ScheduleLayout],
    left: Mapping[str, ScheduleLayout],
    lr: float | None,
) -> str:
    parts = []
    if not rules.searched:
        parts.append(f"finds its learning rate itself: one training a study ({run[0].name}), with lr={lr:g}")
    if list(left) != list(asked):
        parts.append(f"is trained under {' and '.join(left)}, as its authors want it")
    return f"{name} {', and '.join(parts)}" if parts else ""


def _default_lr(subject: Subject, kind: type | None) -> float | None:
    if isinstance(subject, Workload):
        return default_lr(cast("Any", subject.optimizer), kind)
    return None if kind is None else default_lr(kind)


def range_kind(workload: Subject) -> str:
    """The row of `lr_ranges.RANGES` for the workload's optimizer, tried on a weight of its own, else on the model's."""
    if isinstance(workload, Trainable):
        attached = workload.first_look().optimizers
        return kind_of_optimizer(type(attached[0]), character(attached[0])) if attached else UNKNOWN_KIND
    assert isinstance(workload, Workload)
    with preserved_rng(workload.torch_device):
        optimizer = _on_own_weight(workload.optimizer)
        if optimizer is None:  # it wants the parameters that the model has, or the model
            try:
                seed_everything(0)
                optimizer = as_list(workload.build()[1])[0]
            except Exception:  # which a training will report
                return UNKNOWN_KIND
    if not isinstance(optimizer, torch.optim.Optimizer):
        return UNKNOWN_KIND
    return kind_of_optimizer(type(optimizer), character(optimizer))


def _on_own_weight(factory: Any) -> Any:
    """What a factory makes of one weight; None where it takes the model, or raises an exception."""
    if isinstance(factory, ModelOptimizers):
        return None
    try:
        with user_code:
            return factory([nn.Parameter(torch.zeros(1, 1))], lr=PROBE_LR)
    except Exception:
        return None


def _class_of(workload: Subject) -> type[torch.optim.Optimizer] | None:
    """The class of the workload's optimizer; None where making one raises an exception, which a training will report."""
    if isinstance(workload, Trainable):
        return workload.first_look().optimizer_class
    assert isinstance(workload, Workload)
    factory: Any = workload.optimizer
    while isinstance(factory, partial):
        factory = factory.func
    if isinstance(factory, type):
        return factory
    try:
        with preserved_rng(workload.torch_device):
            seed_everything(0)
            return type(as_list(workload.build()[1])[0])
    except Exception:
        return None
