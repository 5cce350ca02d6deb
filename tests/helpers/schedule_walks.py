"""LRs step by step from other sources: torch's own schedulers, and the papers' rules walked in plain Python."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler as torchs

NUM_STEPS = 240
STEPS = range(NUM_STEPS)
Make = Callable[[torch.optim.Optimizer], torchs.LRScheduler]


def torch_walk(make: Make, lr: float = 0.1, key: str = "lr") -> Callable[[], list[float]]:
    """The LR or momentum of each step under one of torch's schedulers."""

    def walk() -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)
        scheduler = make(optimizer)
        values = []
        for step in STEPS:
            values.append(optimizer.param_groups[0][key])
            optimizer.step()
            if step < NUM_STEPS - 1:  # OneCycleLR refuses to go on
                scheduler.step()
        return values

    return walk


def formula(lr: Callable[[int], float]) -> Callable[[], list[float]]:
    return lambda: [lr(t) for t in STEPS]


def torch_cyclic(mode: str, step_size: float, gamma: float = 1.0) -> Callable[[], list[float]]:
    kinds: dict[str, Any] = {"step_size_up": step_size, "mode": mode, "gamma": gamma, "cycle_momentum": False}
    return torch_walk(lambda optimizer: torchs.CyclicLR(optimizer, 0.02, 0.1, **kinds), 0.02)


def torch_restarts(T_0: int, T_mult: int, eta_min: float) -> Callable[[], list[float]]:
    return torch_walk(lambda optimizer: torchs.CosineAnnealingWarmRestarts(optimizer, T_0, T_mult, eta_min=eta_min))


def torch_one_cycle(key: str, **kinds: Any) -> Callable[[], list[float]]:
    return torch_walk(lambda optimizer: torchs.OneCycleLR(optimizer, 0.1, NUM_STEPS, **kinds), key=key)


def torch_sequence(milestone: int, first: Make, then: Make, lr: float = 0.1) -> Callable[[], list[float]]:
    return torch_walk(lambda o: torchs.SequentialLR(o, [first(o), then(o)], [milestone]), lr)


def walked_clr(
    step_size: float, height: Callable[[int, int], float], floor: Callable[[int], float]
) -> Callable[[], list[float]]:
    """Smith's policies, walked up and down: `height(t, whole cycles done)`, `floor(t)`."""

    def lr(t: int) -> float:
        cycles, into = divmod(t, 2 * step_size)
        share = into / step_size if into <= step_size else (2 * step_size - into) / step_size
        return floor(t) + height(t, int(cycles)) * share

    return formula(lr)


def walked_sgdr(
    T_0: float, T_mult: float, eta_min: float, eta_max: float, decay: float = 1.0, base_decay: float = 1.0
) -> Callable[[], list[float]]:
    """Loshchilov and Hutter, equation 5, with T_cur walked from restart to restart, and their bounds decaying at each."""

    def walk() -> list[float]:
        lrs, T_i, begin, floor, peak = [], T_0, 0.0, eta_min, eta_max
        for t in STEPS:
            while t - begin >= T_i - 1e-9:
                begin, T_i, floor, peak = begin + T_i, T_i * T_mult, floor * base_decay, peak * decay
            top = max(floor, peak)
            lrs.append(floor + 0.5 * (top - floor) * (1 + math.cos(math.pi * (t - begin) / T_i)))
        return lrs

    return walk


def vaswani(warmup_steps: int) -> Callable[[], list[float]]:
    """Section 5.3: min(t^-0.5, t * warmup_steps^-1.5), scaled so that the peak is 0.1."""
    scale = 0.1 * warmup_steps**0.5
    return formula(lambda t: 0.0 if t == 0 else scale * min(t**-0.5, t * warmup_steps**-1.5))
