"""What a search cost: steps to a goal, speed-up at equal quality, the area under the anytime curve."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lr_search.arrays import FloatArray
from lr_search.errors import require
from lr_search.kinds.direction import Direction
from lr_search.results.statistics import sign


def steps_to(steps: npt.ArrayLike, best: npt.ArrayLike, goal: float, direction: Direction = "minimize") -> float:
    """The first number of steps at which the best so far is the goal or better.

    Args:
        steps: (n,) charged so far, ascending, >= 0.
        best: (n,) the best objective after them; nan while there is none. Of values that are not the best so far, the
            best so far is taken.
        goal: the objective to reach.
        direction: what is better.

    Returns:
        Steps; nan if the goal is never reached.

    Raises:
        InvalidInputError: `steps` and `best` differ in length, `steps` descends, or no such direction.

    >>> steps_to([300, 600, 900], [0.5, 0.2, 0.1], goal=0.2)
    600.0

    Reference: Hansen, Auger, Brockhoff, Tusar and Tusar, "COCO: Performance Assessment", 2016, arXiv:1605.03560
    (runtimes to a target).
    """
    taken, so_far = _curve(steps, best, direction)
    reached = np.flatnonzero(so_far <= sign(direction) * goal)
    return float(taken[reached[0]]) if len(reached) else math.nan


def speed_up(
    steps: npt.ArrayLike,
    best: npt.ArrayLike,
    base_steps: npt.ArrayLike,
    base_best: npt.ArrayLike,
    start: float,
    direction: Direction = "minimize",
    within: float = 0.05,
) -> float:
    """How many times fewer steps than a baseline a study took to equal quality, on one seed.

    goal = q + within * (start - q),   speed-up = base_steps_to(goal) / steps_to(goal)

    where q is the worse of the two final bests. Both reached it, so the ratio exists whichever of them ended better.

    Args:
        steps: (n,) charged so far in the study, ascending, >= 0.
        best: (n,) its best objective after them, as in `steps_to`.
        base_steps: (n_base,) the same of the baseline.
        base_best: (n_base,) the same of the baseline.
        start: the objective before the first step.
        direction: what is better.
        within: share of the way back to the start that still counts as equal, in [0, 1).

    Returns:
        The ratio, > 0: above 1 where the study was faster. nan where either never got better than the start: there is no
        quality that both reached.

    Raises:
        InvalidInputError: as `steps_to`, or `within` is not in [0, 1).

    >>> speed_up([300, 600], [0.5, 0.1], [300, 600, 900, 1200], [0.9, 0.8, 0.5, 0.2], start=2.2)  # goal 0.3
    2.0

    Reference: Hansen, Auger, Brockhoff, Tusar and Tusar, "COCO: Performance Assessment", 2016, arXiv:1605.03560
    (runtimes to a fixed target; here the hardest that both reach).
    """
    require(0 <= within < 1, "within must be in [0, 1)", within=within)
    own, base = _curve(steps, best, direction)[1], _curve(base_steps, base_best, direction)[1]
    if len(own) == 0 or len(base) == 0:
        return math.nan
    quality = float(np.maximum(own[-1], base[-1]))  # less is better here; nan stays nan
    way_back = sign(direction) * start - quality
    if not 0 < way_back < math.inf:
        return math.nan
    goal = sign(direction) * (quality + within * way_back)
    own_steps = steps_to(steps, best, goal, direction)
    return steps_to(base_steps, base_best, goal, direction) / own_steps if own_steps > 0 else math.nan


def geometric_mean(values: npt.ArrayLike) -> float:
    """The mean for ratios: exp of the mean log, so that twice as fast and half as fast cancel.

    Args:
        values: (seeds,) all > 0.

    Returns:
        The mean; nan if there are no values or one of them is nan: leaving out the seeds on which a search never got
        anywhere would flatter it.

    Raises:
        InvalidInputError: a value is 0 or less.

    >>> round(geometric_mean([2.0, 0.5, 8.0]), 6)
    2.0

    Reference: Fleming and Wallace, "How Not to Lie with Statistics: The Correct Way to Summarize Benchmark Results",
    Communications of the ACM 29(3), 1986, doi:10.1145/5666.5673.
    """
    given = np.asarray(values, dtype=float)
    require(not np.any(given <= 0), "values must be positive", lowest=float(np.fmin.reduce(given, initial=math.inf)))
    return float(np.exp(np.mean(np.log(given)))) if given.size else math.nan


def anytime_area(
    steps: npt.ArrayLike,
    best: npt.ArrayLike,
    start: float,
    best_known: float,
    budget: float,
    direction: Direction = "minimize",
) -> float:
    """The area under a study's anytime curve, as a share of the worst: low is good early and late.

    area = 1 / budget * integral from 0 to budget of (b(s) - best_known) / (start - best_known) ds

    b(s), the best so far after s steps, is a right-continuous step function: `start` until the first entry of `steps`, then
    the best of `start` and the entries up to s; the last value stays until `budget`, and entries after it do not count.

    Args:
        steps: (n,) charged so far, ascending, >= 0; may be empty.
        best: (n,) the best objective after them, as in `steps_to`.
        start: the objective before the first step.
        best_known: the best objective of any study that this one is compared with.
        budget: steps that a study may spend, > 0.
        direction: what is better.

    Returns:
        0: the best known from the first step on; 1: never better than the start; below 0 only where `best` is better
        than `best_known`. nan if the start is not worse than the best known, or one of them is not finite.

    Raises:
        InvalidInputError: as `steps_to`, or `budget` is not positive and finite.

    >>> anytime_area([25, 50], [0.5, 0.0], start=1.0, best_known=0.0, budget=100)  # 25 steps at 1, 25 at 1/2, 50 at 0
    0.375

    Reference: Lopez-Ibanez and Stutzle, "Automatically Improving the Anytime Behaviour of Optimisation Algorithms",
    European Journal of Operational Research 235(3), 2014, doi:10.1016/j.ejor.2013.10.043 (the area, not its logarithm).
    """
    require(0 < budget < math.inf, "budget must be positive and finite", budget=budget)
    taken, values = _curve(steps, best, direction)
    first, goal = sign(direction) * start, sign(direction) * best_known
    if not 0 < first - goal < math.inf:
        return math.nan
    inside = taken < budget
    edges = np.concatenate([[0.0], taken[inside], [budget]])
    heights = np.fmin(first, np.concatenate([[first], values[inside]]))
    return float(np.sum(np.diff(edges) * (heights - goal)) / (budget * (first - goal)))


def _curve(steps: npt.ArrayLike, best: npt.ArrayLike, direction: Direction) -> tuple[FloatArray, FloatArray]:
    """The steps and the best so far after them, both (n,), with the sign that makes less better; checked."""
    taken, values = np.asarray(steps, dtype=float), sign(direction) * np.asarray(best, dtype=float)
    shapes = {"steps": taken.shape, "best": values.shape}
    require(taken.ndim == 1 and taken.shape == values.shape, "steps and best must have the same length, (n,)", **shapes)
    ascending = bool(np.all(taken >= 0) and np.all(np.diff(taken) >= 0))
    require(ascending, "steps must ascend from 0 or more", steps=taken.tolist() if len(taken) <= 10 else "...")
    return taken, np.asarray(np.fmin.accumulate(values))
