"""What the bowl's comparison must have found, recomputed from the bowl's formula."""

import math

import numpy as np

from tests.helpers.bowl import LR_RANGE, NUM_STEPS, bowl, losses, lrs_of

KEYS = ["strategy", "schedule", "optimizer", "seed"]


def by_formula(row):
    """A trial's losses before each step and after the last; objective and steps at its end."""
    path = losses(lrs_of(row.schedule, row.lr), row.seed)
    overflow = np.flatnonzero(np.isinf(path[:-1]))
    return (path, math.inf, int(overflow[0]) + 1) if len(overflow) else (path, path[-1], NUM_STEPS)


def range_test_steps(seed):
    curve = bowl().range_test(seed, start_lr=LR_RANGE[0], end_lr=LR_RANGE[1], num_steps=NUM_STEPS)
    assert curve.num_forwards == curve.num_steps + 1
    return curve.num_steps + 7


def bests_by_hand(comparison):
    """(strategy, schedule, seed) -> [(steps charged, best so far)], no worse than the loss at step 0."""
    found = {}
    for (strategy, schedule, _, seed), rows in comparison.trials.groupby(KEYS, observed=True):
        charged = range_test_steps(seed) if strategy == "range_test" else 0
        best = losses([], seed)[0]
        for row in rows.itertuples():
            _, objective, steps = by_formula(row)
            charged, best = charged + steps, min(best, objective)
            found.setdefault((strategy, schedule, seed), []).append((charged, best))
    return found
