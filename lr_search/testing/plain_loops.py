"""Plain PyTorch loops that a schedule is followed in: attached, written by hand, and as the code that it comes as."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import torch

from lr_search.arrays import FloatArray
from lr_search.results.code.scheduler_code import SchedulerCode
from lr_search.schedules.base import Schedule

RATIOS = (1.0, 0.25)  # of the groups' LRs to the first's
MOMENTUM = 0.9  # before a schedule moves it


class TwoGroups:
    """Two parameters pulled towards 1, in groups whose LRs differ by a ratio.

    Args:
        ratios: of each group's LR to the first's.
        lr: the first group's.
    """

    def __init__(self, ratios: tuple[float, ...] = RATIOS, lr: float = 0.4) -> None:
        self.parameters = [torch.zeros(3, requires_grad=True) for _ in ratios]
        pairs = zip(self.parameters, ratios, strict=True)
        groups = [{"params": [parameter], "lr": lr * ratio} for parameter, ratio in pairs]
        self.optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)

    def step(self) -> None:
        """One step of the optimizer."""
        for parameter in self.parameters:
            parameter.grad = 2 * (parameter.detach() - 1)
        self.optimizer.step()

    def written(self) -> list[float]:
        """What a scheduler writes: each group's LR, then each group's momentum."""
        groups = self.optimizer.param_groups
        return [float(group[key]) for key in ("lr", "momentum") for group in groups]

    def write(self, schedule: Schedule, step: int) -> None:
        """Write the schedule's LR and momentum by hand."""
        momentum = schedule.momentum(step)
        for group, ratio in zip(self.optimizer.param_groups, RATIOS, strict=True):
            group["lr"] = schedule(step) * ratio
            if momentum is not None:
                group["momentum"] = momentum

    def weights(self) -> FloatArray:
        """A copy of the parameters, (groups, 3)."""
        return torch.stack([parameter.detach() for parameter in self.parameters]).double().numpy().copy()

    def take(self, other: TwoGroups) -> None:
        """The other's weights and optimizer state, as a file would keep them."""
        with torch.no_grad():
            for mine, its in zip(self.parameters, other.parameters, strict=True):
                mine.copy_(its)
        self.optimizer.load_state_dict(saved_and_loaded(other.optimizer.state_dict()))


def saved_and_loaded(state: dict[str, Any]) -> dict[str, Any]:
    """A state, written to a file and read back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


def pasted(code: SchedulerCode, num_steps: int, ratios: tuple[float, ...]) -> FloatArray:
    """What the code writes at each step. Returns: (steps, 2 * groups), as `TwoGroups.written`."""
    loop = TwoGroups(ratios, code.first_lr)
    names: dict[str, Any] = {"optimizer": loop.optimizer}
    exec("\n".join([*code.needs, code.lines]), names)
    rows = []
    for _ in range(num_steps):
        rows.append(loop.written())
        loop.step()
        if code.lines:
            names["scheduler"].step()
    return np.array(rows)
