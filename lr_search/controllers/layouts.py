"""Controllers laid out for a training, with `lr` as the first peak: what `by_name` and `compare` know them by."""

from __future__ import annotations

from typing import Any, Literal

from lr_search.controllers.plateau import ReduceOnPlateau
from lr_search.controllers.refind import NUM_STEPS, Refind
from lr_search.errors import require
from lr_search.schedules.named import by_name
from lr_search.workloads.workload import Direction

CYCLIC = ("triangular", "triangular2", "exp_range", "sgdr")


def plateau(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    patience: int = 2,
    factor: float = 0.1,
    metric: str | None = None,
    direction: Direction | None = None,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> ReduceOnPlateau:
    """Constant, a tenth whenever the objective has not improved for 3 evaluations.

    Options as of `ReduceOnPlateau`. Its patience is 2: torch's 10 is a whole training at the usual ten evaluations.
    """
    return ReduceOnPlateau(
        lr, metric, direction, factor, patience, threshold, threshold_mode, cooldown, min_lr,
        note="patience counts evaluations, of which a training has few.",
    )  # fmt: skip


def refind(
    lr: float,
    num_steps: int,
    steps_per_epoch: float | None = None,
    *,
    cycles_of: str = "triangular",
    read: Any = "suggestion",
    ramp_steps: int = NUM_STEPS,
    gain_ratio: bool | None = None,
    **options: Any,
) -> Refind:
    """Triangular cycles whose peak is found again by a range test at each cycle's end; the tests are charged.

    Args:
        lr: the first cycle's peak.
        num_steps: steps in the training.
        steps_per_epoch: steps in one pass over the data.
        cycles_of: the schedule whose cycles they are: triangular, triangular2, exp_range or sgdr.
        read: "suggestion" or "bounds".
        ramp_steps: steps in a range test.
        gain_ratio: whether it is measured.
        **options: as of that schedule: cycles, base_ratio, ...
    """
    require(cycles_of in CYCLIC, f"cycles_of must be one of {', '.join(CYCLIC)}", cycles_of=cycles_of)
    cycles: Any = by_name(cycles_of, lr, num_steps, steps_per_epoch, **options)
    return Refind(cycles, read, ramp_steps, gain_ratio)
