"""Searches whose trainings are looked up: where a range test points, and log grids.

Each sees the losses of its own seed; what it loses is the regret of the LR it picks in the mean over seeds, so that luck does not count.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import optuna
from judge_priors import prior_of
from judge_regrets import RegretCurve
from judge_runs import Run, run_at

from lr_search import LRCurve, LRPrior
from lr_search.samplers import RangeTestSampler

TRAININGS = (1, 2, 3, 8)
GRIDS = (3, 4, 8)
LOW, HIGH = -5.0, 1.0  # log10 of the range that a grid covers
PHASES = 8  # of a grid, for each seed


def after_trainings(trainings: int) -> str:
    """The name of the row."""
    return f"range test, then {trainings}"


def grid_row(points: int) -> str:
    """The name of the row."""
    return f"log grid of {points}"


def searched(curve: LRCurve, truth: RegretCurve, seed: int) -> list[Run]:
    """Every search of one task and seed."""
    losses = truth.seed_losses(seed)
    tried = sampled(prior_of(curve, truth), truth, losses, seed)
    runs = [run_at(truth, after_trainings(count), seed, picked(tried[:count])) for count in TRAININGS]
    rng = np.random.default_rng(zlib.crc32(f"{truth.task} {seed}".encode()))  # one phase for all schedules and lengths
    for phase in rng.random(PHASES).tolist():
        for points in GRIDS:
            places = grid(points, phase)
            kept = picked([(place, truth.looked_up(losses, place)) for place in places])
            runs.append(run_at(truth, grid_row(points), seed, kept))
    return runs


def sampled(prior: LRPrior, truth: RegretCurve, losses: np.ndarray, seed: int) -> list[tuple[float, float]]:
    """As many trainings as there may be at what RangeTestSampler proposes, each told before the next is asked.

    Returns: (log10 LR, loss) of each, in turn.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=RangeTestSampler(prior, seed=seed))
    tried = []
    for _ in range(max(TRAININGS)):
        trial = study.ask()
        place = float(np.log10(trial.suggest_float("lr", prior.low, prior.high, log=True)))
        tried.append((place, truth.looked_up(losses, place)))
        study.tell(trial, tried[-1][1])
    return tried


def grid(points: int, phase: float) -> list[float]:
    """log10 of LRs at equal distances over the range. Args: phase: of the first in its part of the range, in [0, 1)."""
    return [LOW + (HIGH - LOW) * (number + phase) / points for number in range(points)]


def picked(tried: Sequence[tuple[float, float]]) -> float | None:
    """The place of the lowest loss; None where all diverged."""
    place, loss = min(tried, key=lambda pair: pair[1])
    return place if np.isfinite(loss) else None
