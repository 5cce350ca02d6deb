"""Every schedule, with the LRs it must give: torch's own scheduler where it has the schedule, and the paper walked step by step where not."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch.optim import lr_scheduler as torchs

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
    join,
    warmup,
)
from tests.helpers.schedule_walks import (
    formula,
    torch_cyclic,
    torch_one_cycle,
    torch_restarts,
    torch_sequence,
    torch_walk,
    vaswani,
    walked_clr,
    walked_sgdr,
)


@dataclass(frozen=True)
class Case:
    """A schedule, the LR of each of the walk's steps from another source, where its cycles end, and its momenta if it moves them."""

    schedule: Schedule
    lrs: Callable[[], Sequence[float]]
    ends: tuple[int, ...] = ()
    momenta: Callable[[], Sequence[float]] | None = None


@dataclass(frozen=True)
class Harmonic(Schedule):
    """A schedule as a user writes one: no more than the base class asks for."""

    lr: float

    def values(self, steps: np.ndarray) -> np.ndarray:
        return np.array([self.lr / (1 + step / 10) for step in steps.tolist()])  # steps has one dimension, always

    def describe(self) -> str:
        return f"harmonic from {self.lr:.3g}"


@dataclass(frozen=True)
class Breathing(Schedule):
    """A user's cyclic schedule that moves the momentum against the LR, as torch's CyclicLR does."""

    base_lr: float
    max_lr: float
    step_size: int

    def _up(self, steps: np.ndarray) -> np.ndarray:
        return 1 - np.abs(steps % (2 * self.step_size) - self.step_size) / self.step_size

    def values(self, steps: np.ndarray) -> np.ndarray:
        return self.base_lr + (self.max_lr - self.base_lr) * self._up(steps)

    def momenta(self, steps: np.ndarray) -> np.ndarray:
        return np.array([0.95 - 0.1 * up for up in self._up(steps).tolist()])

    def cycle_ends(self, num_steps: int) -> list[int]:
        return list(range(2 * self.step_size, num_steps + 1, 2 * self.step_size))

    def describe(self) -> str:
        return f"from {self.base_lr:.3g} to {self.max_lr:.3g} and back in {2 * self.step_size} steps"


USERS = (Harmonic, Breathing)


DECAYS = {
    "constant": Case(Constant(0.1), formula(lambda t: 0.1)),
    "step": Case(StepDecay(0.1, 30, 0.5), torch_walk(lambda o: torchs.StepLR(o, 30, 0.5))),
    "step, by tens": Case(StepDecay(0.1, 80), torch_walk(lambda o: torchs.StepLR(o, 80))),
    "step, fractional": Case(StepDecay(0.1, 240 / 7, 0.5), formula(lambda t: 0.1 / 2 ** (7 * t // 240))),
    "exponential": Case(Exponential(0.1, 0.98), torch_walk(lambda o: torchs.ExponentialLR(o, 0.98))),
    "polynomial": Case(Polynomial(0.1, 200, power=2), torch_walk(lambda o: torchs.PolynomialLR(o, 200, 2.0))),
    "polynomial, root, floor": Case(
        Polynomial(0.1, 150, power=0.5, end_lr=0.01),
        formula(lambda t: 0.01 + 0.09 * math.sqrt(max(0, 150 - t) / 150)),
    ),
    "linear": Case(Linear(0.1, 200, 0.01), torch_walk(lambda o: torchs.LinearLR(o, 1.0, 0.1, 200))),
    "linear, rising": Case(Linear(0.02, 50, 0.1), torch_walk(lambda o: torchs.LinearLR(o, 0.2, 1.0, 50))),
    "linear, to 0": Case(Linear(0.1, 240), torch_walk(lambda o: torchs.PolynomialLR(o, 240, 1.0))),
    "cosine": Case(Cosine(0.1, 240, 0.01), torch_walk(lambda o: torchs.CosineAnnealingLR(o, 240, 0.01))),
    "cosine, held": Case(
        Cosine(0.1, 150.5), formula(lambda t: 0.1 * math.cos(math.pi / 4 * min(t, 150.5) / 75.25) ** 2)
    ),
    "inverse_sqrt": Case(InverseSqrt(0.1, 40), formula(lambda t: 0.1 / math.sqrt(1 + t / 40))),
    "wsd": Case(WSD(0.1, 240, 60), formula(lambda t: 0.1 if t <= 180 else 0.1 * (1 - math.sqrt((t - 180) / 60)))),
    "wsd, linear": Case(
        WSD(0.1, 240, 60, end_lr=0.01, decay="linear"),
        torch_sequence(180, lambda o: torchs.ConstantLR(o, 1.0), lambda o: torchs.LinearLR(o, 1.0, 0.1, 60)),
    ),
    "wsd, over early": Case(
        WSD(0.1, 200, 40.5, end_lr=0.02),
        formula(lambda t: 0.1 if t <= 159.5 else 0.1 - 0.08 * math.sqrt(min(1, (t - 159.5) / 40.5))),
    ),
    "harmonic": Case(Harmonic(0.1), formula(lambda t: 1 / (10 + t))),
}

FORTIES = (40, 80, 120, 160, 200, 240)
THIRTIES = (30, 60, 90, 120, 150, 180, 210, 240)

CYCLES = {
    "triangular": Case(Triangular(0.02, 0.1, 20), torch_cyclic("triangular", 20), FORTIES),
    "triangular2": Case(Triangular2(0.02, 0.1, 17), torch_cyclic("triangular2", 17), (34, 68, 102, 136, 170, 204, 238)),
    "exp_range": Case(ExpRange(0.02, 0.1, 20, gamma=0.99), torch_cyclic("exp_range", 20, 0.99), FORTIES),
    "exp_range, bounds": Case(
        ExpRange(0.02, 0.1, 20, gamma=0.99, decay="bounds"),
        walked_clr(20, lambda t, cycles: 0.08 * 0.99**t, lambda t: 0.02 * 0.99**t),
        FORTIES,
    ),
    "triangular, fractional": Case(
        Triangular(0.02, 0.1, 240 / 14),
        torch_cyclic("triangular", 240 / 14),
        (34, 69, 103, 137, 171, 206, 240),
    ),
    "triangular2, fractional": Case(
        Triangular2(0.02, 0.1, 12.5),
        walked_clr(12.5, lambda t, cycles: 0.08 / 2**cycles, lambda t: 0.02),
        tuple(range(25, 226, 25)),
    ),
    "exp_range, fractional": Case(
        ExpRange(0.02, 0.1, 12.5, gamma=0.98),
        walked_clr(12.5, lambda t, cycles: 0.08 * 0.98**t, lambda t: 0.02),
        tuple(range(25, 226, 25)),
    ),
    "sgdr": Case(SGDR(0.0, 0.1, T_0=30), torch_restarts(30, 1, 0.0), THIRTIES),
    "sgdr, floor": Case(SGDR(0.01, 0.1, T_0=30), torch_restarts(30, 1, 0.01), THIRTIES),
    "sgdr, doubling": Case(SGDR(0.0, 0.1, T_0=16, T_mult=2), torch_restarts(16, 2, 0.0), (16, 48, 112, 240)),
    "sgdr, tripling": Case(SGDR(0.0, 0.1, T_0=5, T_mult=3), torch_restarts(5, 3, 0.0), (5, 20, 65, 200)),
    "sgdr, decay": Case(SGDR(0.01, 0.1, T_0=30, decay=0.4), walked_sgdr(30, 1, 0.01, 0.1, 0.4), THIRTIES),
    "sgdr, both decay": Case(
        SGDR(0.04, 0.1, T_0=16, T_mult=2, decay=0.7, base_decay=0.5),
        walked_sgdr(16, 2, 0.04, 0.1, 0.7, 0.5),
        (16, 48, 112, 240),
    ),
    "sgdr, fractional": Case(
        SGDR(0.0, 0.1, T_0=240 / 7), walked_sgdr(240 / 7, 1, 0.0, 0.1), (34, 69, 103, 137, 171, 206, 240)
    ),
    "sgdr, fractional, growing": Case(
        SGDR(0.001, 0.1, T_0=32, T_mult=1.25, decay=0.9), walked_sgdr(32, 1.25, 0.001, 0.1, 0.9), (32, 72, 122, 184)
    ),
    "one_cycle": Case(OneCycle(0.1, 240), torch_one_cycle("lr"), (240,), torch_one_cycle("momentum")),
    "one_cycle, three phases, lines": Case(
        OneCycle(0.1, 240, three_phase=True, anneal="linear"),
        torch_one_cycle("lr", three_phase=True, anneal_strategy="linear"),
        (240,),
        torch_one_cycle("momentum", three_phase=True, anneal_strategy="linear"),
    ),
    "one_cycle, no momentum": Case(OneCycle(0.1, 240, base_momentum=None), torch_one_cycle("lr"), (240,)),
    "breathing": Case(
        Breathing(0.02, 0.1, 20),
        torch_cyclic("triangular", 20),
        FORTIES,
        torch_walk(
            lambda o: torchs.CyclicLR(o, 0.02, 0.1, 20, base_momentum=0.85, max_momentum=0.95), 0.02, "momentum"
        ),
    ),
}

JOINED = {
    "joined": Case(
        join([StepDecay(0.1, 20, 0.5), Cosine(0.1, 140)], [100]),
        torch_sequence(100, lambda o: torchs.StepLR(o, 20, 0.5), lambda o: torchs.CosineAnnealingLR(o, 140)),
    ),
    "joined, cut short": Case(
        join([SGDR(0.0, 0.1, T_0=30), Triangular(0.02, 0.1, 20)], [75]),
        lambda: torch_restarts(30, 1, 0.0)()[:75] + torch_cyclic("triangular", 20)()[:165],
        (30, 60, 115, 155, 195, 235),
    ),
    "warm-up": Case(
        warmup(Cosine(0.1, 220), 20, start_ratio=0.1),
        torch_sequence(20, lambda o: torchs.LinearLR(o, 0.1, 1.0, 20), lambda o: torchs.CosineAnnealingLR(o, 220)),
    ),
    "warm-up, transformer": Case(warmup(InverseSqrt(0.1, 40), 40), vaswani(40)),
    "warm-up, triangular": Case(
        warmup(Triangular(0.02, 0.1, 20), 40, start_ratio=0.5),
        torch_sequence(
            40,
            lambda o: torchs.LinearLR(o, 0.5, 1.0, 40),
            lambda o: torchs.CyclicLR(o, 0.02, 0.1, 20, cycle_momentum=False),
            0.02,
        ),
        (80, 120, 160, 200, 240),
    ),
    "one_cycle, four times": Case(
        join([OneCycle(0.1, 60, anneal="linear")] * 4, [60, 120, 180]),
        lambda: [*[0.004 + 0.096 * t / 17 for t in range(18)], *np.linspace(0.1, 4e-7, 43)[1:]] * 4,
        (60, 120, 180, 240),
        lambda: [*[0.95 - 0.1 * t / 17 for t in range(18)], *np.linspace(0.85, 0.95, 43)[1:]] * 4,
    ),
    "joined, in part with momentum": Case(
        join([Constant(0.1), Breathing(0.02, 0.1, 20)], [100]),
        lambda: [0.1] * 100 + torch_cyclic("triangular", 20)()[:140],
        (140, 180, 220),
        lambda: [0.95] * 100 + [0.95 - 0.1 * (1 - abs(t % 40 - 20) / 20) for t in range(140)],
    ),
}

CASES: dict[str, Case] = DECAYS | CYCLES | JOINED
