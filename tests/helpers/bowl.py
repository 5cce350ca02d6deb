"""One weight in a bowl: gradient descent whose every loss follows from a formula."""

import numpy as np
import torch
from torch import nn

import lr_search as lrs

NUM_STEPS, EVAL_EVERY, BUDGET, SEEDS = 20, 5, 4, 2
LR_RANGE = (1e-3, 1e3)
LIMIT = np.finfo(np.float32).max


class Bowl(nn.Module):
    """One weight w, between 1 and 2 at the start; with the loss w^2 a step of SGD multiplies it by 1 - 2 lr."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(1 + torch.rand(()))

    def forward(self, batch):
        return batch * self.w


def metrics(model, batch):
    outputs = model(batch)
    return {"loss": outputs**2, "distance": outputs.abs(), "steps": torch.full_like(outputs, 7.0)}


def bowl(**changes):
    settings = {
        "model": Bowl,
        "optimizer": torch.optim.SGD,
        "loss": lambda model, batch: (model(batch) ** 2).mean(),
        "metrics": metrics,
        "train_data": lambda: [torch.ones(1)] * 2,  # one example: a sum over more would overflow first
        "valid_data": lambda: [torch.ones(1)],
        "num_steps": NUM_STEPS,
        "eval_every": EVAL_EVERY,
        "device": "cpu",
    }
    return lrs.Workload(**(settings | changes))


def compare_in_bowl(storage, **changes):
    settings = {
        "strategies": {"grid": "grid", "range_test": "range_test", "mine": 0.3},
        "schedules": ["constant", "triangular2"],
        "lr_range": LR_RANGE,
        "range_test": {"num_steps": NUM_STEPS},
        "budget": BUDGET,
        "seeds": SEEDS,
        "name": "bowl",
    }
    return lrs.compare(bowl(), storage=storage, **(settings | changes))


def weights(lrs_of_steps, seed):
    """The weight before each step and after the last, in NumPy. lrs_of_steps: (n,). Returns: (n + 1,)."""
    start = 1 + torch.rand((), generator=torch.Generator().manual_seed(int(seed))).item()
    return start * np.cumprod([1.0, *(1 - 2 * np.asarray(lrs_of_steps))])


def losses(lrs_of_steps, seed):
    """The loss likewise; inf from where a 32-bit float overflows."""
    path = weights(lrs_of_steps, seed) ** 2
    return np.where(path > LIMIT, np.inf, path)


def lrs_of(schedule, peak, num_steps=NUM_STEPS):
    """The LR of each step: constant, or three triangles from a quarter of the peak whose height halves (Smith 2017)."""
    if schedule == "constant":
        return np.full(num_steps, peak)
    place = np.arange(num_steps) * 3 / num_steps
    cycle = np.floor(place)
    return peak / 4 + (peak - peak / 4) * (1 - np.abs(2 * (place - cycle) - 1)) / 2**cycle
