"""Training functions: of torch, of scikit-learn and of NumPy, each a bowl or a line that a few steps find."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import lr_search as lrs

STEPS = 40


def fit_line(run: lrs.TrainingRun, by_function: bool = False) -> None:
    """A torch loop over two groups, one at a tenth of the other's LR; it reports a number, or a function that gives it."""

    @torch.no_grad()
    def evaluate() -> torch.Tensor:
        torch.rand(3)  # draws, as an evaluation may
        return (model(inputs) - targets).square().mean()

    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    groups = [{"params": model[0].parameters(), "lr": run.lr}, {"params": model[2].parameters(), "lr": run.lr / 10}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = run.attach(optimizer)
    inputs = torch.randn(64, 2)
    targets = inputs[:, :1] - 2 * inputs[:, 1:]
    for _ in range(run.num_steps):
        chosen = torch.randint(0, 64, (16,))
        loss = (model(inputs[chosen]) - targets[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        run.loss(loss)
        if by_function:
            run.report(val_loss=evaluate)
        elif run.due:
            with run.evaluating():
                run.report(val_loss=evaluate())


def descend(run: lrs.TrainingRun) -> None:
    """NumPy: gradient descent on (x - 3)^2, which the LRs of a schedule give in closed form."""
    x = 0.0
    for _ in range(run.num_steps):
        run.loss((x - 3) ** 2)
        x -= run.lr * 2 * (x - 3)
        run.step()
        if run.due:
            run.report(val_loss=(x - 3) ** 2)


def partial_fits(run: lrs.TrainingRun) -> None:
    """scikit-learn: an SGDRegressor, batch by batch, at the LR of each step."""
    from sklearn.linear_model import SGDRegressor

    rng = np.random.default_rng(run.seed)
    inputs = rng.normal(size=(200, 3))
    targets = inputs @ [1.0, -2.0, 0.5]
    model = SGDRegressor(learning_rate="constant", eta0=run.lr, random_state=run.seed)
    for _ in range(run.num_steps):
        chosen = rng.integers(0, 200, 20)
        model.eta0 = run.lr
        model.partial_fit(inputs[chosen], targets[chosen])
        run.loss(np.mean((model.predict(inputs[chosen]) - targets[chosen]) ** 2))
        run.step()
        if run.due:
            run.report(val_loss=np.mean((model.predict(inputs) - targets) ** 2))


def trainable_of(train: Any, **settings: Any) -> lrs.Trainable:
    """With the tests' length, unless that is said."""
    return lrs.Trainable(train, **{"num_steps": STEPS, **settings})


TIMES = ["seconds", "started", "ended", "worker"]  # columns that differ from run to run
SMALL = {
    "strategies": ["random", "range_test"],
    "schedules": ["constant", "cosine"],
    "seeds": 1,
    "storage": None,
    "progress": False,
}


def compared(train: Any, **settings: Any) -> lrs.Comparison:
    """A small comparison of a training function of the tests' length."""
    small = {**SMALL, "budget": 3, "range_test": {"num_steps": 20}}
    return lrs.compare(trainable_of(train), **{**small, **settings})
