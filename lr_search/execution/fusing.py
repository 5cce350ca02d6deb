"""Which trials of a comparison can be trained together, and how many at once."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any, Literal

from lr_search.controllers.base import Controller
from lr_search.execution.plan import FIRST
from lr_search.execution.study import StudyTask
from lr_search.fused.support import Support, support_of
from lr_search.fused.width import WIDEST, fastest_width, fitting_width
from lr_search.layouts import PEAK
from lr_search.workload import Workload


class Fusing:
    """What is known of the workloads of a comparison: which can be fused, and how many at once.

    Args:
        width: as the user gave it.
    """

    def __init__(self, width: int | Literal["auto"]) -> None:
        self._asked = width
        self._support: dict[int, tuple[Workload, Support]] = {}
        self._widths: dict[int, int] = {}
        self._plain: dict[int, bool] = {}
        self._told: set[str] = set()

    def support(self, workload: Workload, seed: int) -> Support:
        """Tried out once a workload; why it cannot be fused is told as a warning."""
        if id(workload) not in self._support:
            found = support_of(workload, seed)
            self._support[id(workload)] = workload, found
            if found.reason and found.reason not in self._told:
                self._told.add(found.reason)
                warnings.warn(
                    f"FusedExecutor needs {found.reason}. These trials run one by one; the answers are the same. "
                    "Mend that to have them fused, or use LocalExecutor.",
                    stacklevel=2,
                )
        return self._support[id(workload)][1]

    def can(self, task: StudyTask) -> bool:
        """Whether a study's trials can be fused at all."""
        return self._asked != 1 and self._is_plain(task) and not self.support(task.plan.workload, task.plan.seed).reason

    def _is_plain(self, task: StudyTask) -> bool:
        """Whether they are trainings under a schedule."""
        plan = task.plan
        if id(task) not in self._plain:
            controlled = plan.layout is not None and isinstance(plan.layout(PEAK), Controller)
            self._plain[id(task)] = plan.kind not in FIRST and not controlled
        return self._plain[id(task)]

    def together(self, one: StudyTask, other: StudyTask) -> bool:
        """Whether trials of two studies can be trained in lockstep."""
        first, second = one.plan, other.plan
        if first.seed != second.seed or (first.kind == "confirm") != (second.kind == "confirm") or not self.can(other):
            return False
        supports = [self.support(plan.workload, plan.seed) for plan in (first, second)]
        return _but_optimizer(first.workload) == _but_optimizer(second.workload) and (
            set(supports[0].trained) == set(supports[1].trained)
        )

    def width(self, task: StudyTask, most: int) -> int:
        """How many at once, of which `most` could begin now."""
        workload, seed = task.plan.workload, task.plan.seed
        support = self.support(workload, seed)
        if id(workload) not in self._widths:
            fits = min(WIDEST, fitting_width(support, workload.torch_device))
            asked = self._asked
            self._widths[id(workload)] = (
                fastest_width(workload, seed, support, min(most, fits)) if asked == "auto" else min(asked, fits)
            )
        return self._widths[id(workload)]

    def narrow(self, workload: Workload, width: int) -> None:
        """No more than that many from now on."""
        self._widths[id(workload)] = min(width, self._widths.get(id(workload), width))


def _but_optimizer(workload: Workload) -> list[Any]:
    return [getattr(workload, each.name) for each in fields(workload) if each.name != "optimizer"]
