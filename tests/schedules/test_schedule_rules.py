"""What a schedule refuses: the message has the rule, what came, and what to do where the rule does not say it."""

import math
from collections.abc import Callable

import pytest

from lr_search.errors import InvalidInputError
from lr_search.schedules import (
    SGDR,
    WSD,
    Constant,
    Cosine,
    Exponential,
    ExpRange,
    InverseSqrt,
    Joined,
    Linear,
    OneCycle,
    Polynomial,
    Schedule,
    StepDecay,
    Triangular,
    Triangular2,
    join,
    warmup,
)

FLAT = Constant(0.1)
LONGER = "Train for more steps or in fewer cycles."
LR = "lr must be positive and finite"
END = "end_lr must lie between 0 and lr"
GAMMA = "gamma must be above 0 and at most 1"
ABOVE = "max_lr must be above base_lr"
HALF = "step_size must be at least 1 step (it is half a cycle), and finite"
DECAYS = "must be above 0 and at most 1"
BOTH = "lr and end_lr must be at least 0, not both 0, and finite"
BOUNDARIES = "boundaries must rise from step to step, from 1 on"
MOMENTA = "the momenta must rise: 0 <= base_momentum <= max_momentum < 1"
BETWEEN = "there must be one boundary between each two schedules"
MAKE = "Make one with lr_search.schedules.by_name(...)."
WHOLE = "num_steps must be at least 1"


def long(name: str) -> str:
    return f"{name} must be at least 1 step, and finite"


BAD: list[tuple[Callable[[], Schedule], str, str]] = [
    *((lambda lr=lr: Constant(lr), LR, f"lr={lr}") for lr in (0.0, -0.1, math.inf)),
    (lambda: Constant(math.nan), "lr must be a number", "nan"),
    (lambda: StepDecay(0.0, 5), LR, "lr=0.0"),
    (lambda: StepDecay(0.1, 0.5), long("step_size"), "step_size=0.5"),
    (lambda: StepDecay(0.1, 5, gamma=0.0), GAMMA, "gamma=0.0"),
    (lambda: StepDecay(0.1, 5, gamma=1.5), GAMMA, "gamma=1.5"),
    (lambda: Exponential(-0.1, 0.9), LR, "lr=-0.1"),
    (lambda: Exponential(0.1, 1.01), GAMMA, "gamma=1.01"),
    (lambda: Exponential(0.1, math.nan), "gamma must be a number", "nan"),
    (lambda: Polynomial(math.inf, 10), LR, "lr=inf"),
    (lambda: Polynomial(0.1, 0), long("num_steps"), "num_steps=0"),
    (lambda: Polynomial(0.1, 10, power=0), "power must be positive and finite", "power=0"),
    (lambda: Polynomial(0.1, 10, end_lr=0.2), END, "end_lr=0.2, lr=0.1"),
    (lambda: Linear(-0.1, 10), BOTH, "lr=-0.1, end_lr=0.0"),
    (lambda: Linear(0.0, 10), BOTH, "lr=0.0, end_lr=0.0"),
    (lambda: Linear(0.1, 10, end_lr=math.nan), "end_lr must be a number", "nan"),
    (lambda: Linear(math.nan, 10, end_lr=0.1), "lr must be a number", "nan"),
    (lambda: Linear(0.1, 10, end_lr=math.inf), BOTH, "lr=0.1, end_lr=inf"),
    (lambda: Linear(0.1, 0.5), long("num_steps"), "num_steps=0.5"),
    (lambda: Cosine(0.0, 10), LR, "lr=0.0"),
    (lambda: Cosine(0.1, math.inf), long("num_steps"), "num_steps=inf"),
    (lambda: Cosine(0.1, 10, end_lr=-0.1), END, "end_lr=-0.1, lr=0.1"),
    (lambda: InverseSqrt(0.0, 10), LR, "lr=0.0"),
    (lambda: InverseSqrt(0.1, 0), long("timescale"), "timescale=0"),
    (lambda: WSD(0.0, 10, 5), LR, "lr=0.0"),
    (lambda: WSD(0.1, 0, 5), long("num_steps"), "num_steps=0"),
    (lambda: WSD(0.1, 10, 0), long("decay_steps"), "decay_steps=0"),
    (lambda: WSD(0.1, 10, 11), "decay_steps must be at most num_steps", "decay_steps=11, num_steps=10"),
    (lambda: WSD(0.1, 10, 5, end_lr=0.2), END, "end_lr=0.2, lr=0.1"),
    (lambda: WSD(0.1, 10, 5, decay="sqrt"), "decay must be '1-sqrt' or 'linear'", "'sqrt'"),
    (lambda: Triangular(-0.1, 1.0, 5), "base_lr must be positive", "base_lr=-0.1"),
    (lambda: Triangular(0.3, 0.1, 5), ABOVE, "max_lr=0.1, base_lr=0.3"),
    (lambda: Triangular2(0.3, 0.3, 5), ABOVE, "max_lr=0.3, base_lr=0.3"),
    (lambda: ExpRange(0.3, 0.1, 5, gamma=0.9), ABOVE, "max_lr=0.1, base_lr=0.3"),
    (lambda: Triangular(0.1, math.inf, 5), "max_lr must be finite", "max_lr=inf"),
    (lambda: Triangular(0.1, math.nan, 5), "max_lr must be a number", "nan"),
    (lambda: Triangular(0.1, 1.0, 0.5), HALF, f"step_size=0.5. {LONGER}"),
    (lambda: Triangular2(0.1, 1.0, math.inf), HALF, f"step_size=inf. {LONGER}"),
    (lambda: ExpRange(0.1, 1.0, 0, gamma=0.9), HALF, f"step_size=0. {LONGER}"),
    (lambda: ExpRange(0.1, 1.0, 5, gamma=0.0), GAMMA, "gamma=0.0"),
    (lambda: ExpRange(0.1, 1.0, 5, gamma=1.01), GAMMA, "gamma=1.01"),
    (lambda: ExpRange(0.1, 1.0, 5, gamma=0.9, decay="both"), "decay must be 'amplitude' or 'bounds'", "'both'"),
    (lambda: SGDR(-0.1, 1.0, 5), "base_lr must be at least 0", "base_lr=-0.1"),
    (lambda: SGDR(1.0, 0.5, 5), ABOVE, "max_lr=0.5, base_lr=1.0"),
    (lambda: SGDR(0.0, math.inf, 5), "max_lr must be finite", "max_lr=inf"),
    (lambda: SGDR(0.0, 1.0, 0.9), long("T_0"), f"T_0=0.9. {LONGER}"),
    (lambda: SGDR(0.0, 1.0, 5, T_mult=0.5), "T_mult must be at least 1, and finite", "T_mult=0.5"),
    (lambda: SGDR(0.0, 1.0, 5, decay=0.0), f"decay {DECAYS}", "decay=0.0"),
    (lambda: SGDR(0.0, 1.0, 5, decay=2.0), f"decay {DECAYS}", "decay=2.0"),
    (lambda: SGDR(0.0, 1.0, 5, base_decay=2.0), f"base_decay {DECAYS}", "base_decay=2.0"),
    (lambda: SGDR(0.0, 1.0, 5, base_decay=0.0), f"base_decay {DECAYS}", "base_decay=0.0"),
    (lambda: OneCycle(0.0, 100), "max_lr must be positive and finite", "max_lr=0.0"),
    (lambda: OneCycle(0.1, 0), long("num_steps"), "num_steps=0"),
    (lambda: OneCycle(0.1, 100, pct_start=0.0), "pct_start must lie between 0 and 1", "pct_start=0.0"),
    (lambda: OneCycle(0.1, 100, pct_start=1.0), "pct_start must lie between 0 and 1", "pct_start=1.0"),
    (
        lambda: OneCycle(0.1, 100, pct_start=0.51, three_phase=True),
        "pct_start must be above 0 and at most 0.5, for in three phases the LR goes down as slowly as it went up",
        "pct_start=0.51",
    ),
    (
        lambda: OneCycle(0.1, 3),
        "the rise must take more than one step",
        "pct_start * num_steps=0.8999999999999999. Train for more steps, or with a larger pct_start.",
    ),
    (lambda: OneCycle(0.1, 100, div_factor=1.0), "div_factor must be above 1", "div_factor=1.0"),
    (lambda: OneCycle(0.1, 100, final_div_factor=0.5), "final_div_factor must be at least 1", "0.5"),
    (lambda: OneCycle(0.1, 100, anneal="cosine"), "anneal must be 'cos' or 'linear'", "'cosine'"),
    (lambda: OneCycle(0.1, 100, base_momentum=0.96), MOMENTA, "base_momentum=0.96, max_momentum=0.95"),
    (lambda: OneCycle(0.1, 100, max_momentum=1.0), MOMENTA, "base_momentum=0.85, max_momentum=1.0"),
    (lambda: join([], []), "schedules must be Schedules, at least one", "schedules=()"),
    (lambda: join([0.1, FLAT], [5]), "schedules must be a sequence of lr_search.Schedules", f"[0.1, {FLAT!r}]. {MAKE}"),
    (lambda: join([FLAT, FLAT], []), BETWEEN, "boundaries=0, schedules=2"),
    (lambda: join([FLAT], [5]), BETWEEN, "boundaries=1, schedules=1"),
    (lambda: join([FLAT, FLAT], [0]), BOUNDARIES, "boundaries=(0,)"),
    (lambda: join([FLAT] * 3, [5, 5]), BOUNDARIES, "boundaries=(5, 5)"),
    (lambda: join([FLAT] * 3, [9, 5]), BOUNDARIES, "boundaries=(9, 5)"),
    (lambda: Joined((FLAT, FLAT), (2.5,)), "boundaries must be a sequence of whole numbers", "(2.5,)"),
    (lambda: warmup(0.1, 5), "schedule must be an lr_search.Schedule", f"0.1. {MAKE}"),
    (lambda: warmup(FLAT, 0), WHOLE, "num_steps=0"),
    (lambda: warmup(FLAT, 5.5), "num_steps must be a whole number", "5.5"),
    (lambda: warmup(FLAT, 5, start_ratio=1.1), "start_ratio must lie between 0 and 1", "start_ratio=1.1"),
    (
        lambda: warmup(Linear(0.0, 10, 0.1), 5),
        "the schedule's first LR must be positive, for the warm-up leads to it",
        "lr=0.0",
    ),
]


@pytest.mark.parametrize(("make", "rule", "came"), BAD, ids=[f"{came}, {rule}" for _, rule, came in BAD])
def test_a_number_that_breaks_a_rule_is_an_error_that_holds_both(
    make: Callable[[], Schedule], rule: str, came: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        make()
    assert str(error.value) == f"{rule}, but got {came}{'' if came.endswith('.') else '.'}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: StepDecay(0.1, 1, gamma=1.0),
        lambda: Exponential(0.1, 1.0),
        lambda: Polynomial(0.1, 1, power=1e-3, end_lr=0.1),
        lambda: Linear(0.0, 1, 0.1),
        lambda: Cosine(0.1, 1, end_lr=0.1),
        lambda: InverseSqrt(0.1, 1),
        lambda: WSD(0.1, 1, 1, end_lr=0.1),
        lambda: Triangular(0.1, 0.2, 1),
        lambda: ExpRange(0.1, 0.2, 1, gamma=1.0),
        lambda: SGDR(0.0, 0.2, 1, T_mult=1, decay=1.0, base_decay=1.0),
        lambda: OneCycle(0.1, 2, pct_start=0.51, final_div_factor=1, base_momentum=0.9, max_momentum=0.9),
        lambda: OneCycle(0.1, 4, pct_start=0.5, three_phase=True),
        lambda: join([FLAT], []),
        lambda: warmup(FLAT, 1, start_ratio=1.0),
    ],
)
def test_the_last_value_that_a_rule_allows_works(make: Callable[[], Schedule]) -> None:
    schedule = make()
    assert (schedule(range(5)) <= 0.2 + 1e-12).all()
    assert (schedule(range(5)) >= 0).all()
