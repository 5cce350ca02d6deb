"""The names that `by_name` knows, and trainings to lay them out for."""

import itertools
from typing import Any

from lr_search.schedules import (
    SGDR,
    WSD,
    Constant,
    Cosine,
    Exponential,
    ExpRange,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
    Schedule,
    StepDecay,
    Triangular,
    Triangular2,
    by_name,
)

CONTROLLERS = {"plateau", "refind"}  # laid out by name as well, and no schedules: see their own tests
WARMED: dict[str, type[Schedule]] = {"inverse_sqrt": InverseSqrt, "wsd": WSD}  # under a warm-up by definition
DECAYS: dict[str, type[Schedule]] = {
    "step": StepDecay,
    "exponential": Exponential,
    "polynomial": Polynomial,
    "linear": Linear,
    "cosine": Cosine,
}
CLR = {"triangular": Triangular, "triangular2": Triangular2, "exp_range": ExpRange}
KINDS: dict[str, type[Schedule]] = {
    "constant": Constant,
    **DECAYS,
    **WARMED,
    **CLR,
    "sgdr": SGDR,
    "one_cycle": OneCycle,
}
CYCLIC = [*CLR, "sgdr"]
LENGTHS = [15, 16, 31, 97, 100, 300, 1000, 3001, 12345, 1_000_000]
EPOCHS: list[float | None] = [None, 0.3, 1, 2, 7.5, 10, 33, 100, 1563, 1e6]
LAYOUTS = list(itertools.product(LENGTHS, EPOCHS))


def laid_out(name: str, **options: Any) -> Any:
    """For a training of 30 epochs."""
    return by_name(name, 0.2, 300, 10, **options)
