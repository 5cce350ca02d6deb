"""How fast trials will be run, measured on a few steps before the first of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean

from lr_search.errors import LRSearchError
from lr_search.fused.lane import Member
from lr_search.fused.support import known_support
from lr_search.fused.trials import FusedTraining
from lr_search.own_loops.first_look import seconds_a_step
from lr_search.schedules.decay import Constant
from lr_search.training.training import train
from lr_search.workloads.subject import Subject
from lr_search.workloads.trainable import Trainable
from lr_search.workloads.workload import PROBE_LR, Workload

CHUNK_STEPS = 5  # are timed together
MOST_CHUNKS = 20  # at most, after one to warm up
ENOUGH_SECONDS, MOST_SECONDS = 0.15, 5.0  # of chunks: no more are timed then; those that warm up count in the second


@dataclass(frozen=True)
class FirstPace:
    """How fast trials will be run.

    Args:
        seconds_a_step: of one trial, its share of the evaluations included; of trials that are trained together the time of all
            of them is shared out.
        at_once: how many are trained together.
    """

    seconds_a_step: float
    at_once: int = 1


def pace_alone(subject: Subject) -> FirstPace | None:
    """Of trials that are trained one after the other; None where the user's code raises an exception.

    Takes up to 210 steps of trainings that are then thrown away; they are not charged. Of a training function without evaluations.
    """
    if isinstance(subject, Trainable):
        seconds = seconds_a_step(subject, 0)
        return FirstPace(seconds) if isfinite(seconds) else None
    assert isinstance(subject, Workload)
    return _pace_of_workload(subject)


def _pace_of_workload(workload: Workload) -> FirstPace | None:
    short = _short(workload)
    try:
        with closing(train(short, Constant(PROBE_LR))) as training:
            steps = _mean_seconds(lambda: training.advance(training.step + CHUNK_STEPS))
        with closing(train(short, Constant(PROBE_LR))) as training:
            next(training)
            evaluated = _mean_seconds(lambda: next(training, None))
    except LRSearchError:
        raise
    except Exception:
        return None
    return FirstPace(_seconds_a_step(workload, steps, evaluated))


def pace_together(workload: Workload, seeds: Sequence[int]) -> FirstPace | None:
    """Of trials of these seeds that are trained together; None where they cannot be. See `pace_alone`."""
    short, support = _short(workload), known_support(workload, seeds[0])
    if support.reason:
        return None

    def begun() -> FusedTraining:
        return FusedTraining([Member(short, Constant(PROBE_LR))] * len(seeds), seeds, [support] * len(seeds))

    try:
        with closing(begun()) as training:
            steps = _mean_seconds(lambda: training.advance(CHUNK_STEPS))
        with closing(begun()) as training:
            lanes = iter(training)
            next(lanes)
            evaluated = _mean_seconds(lambda: next(lanes, None))
    except LRSearchError:
        raise
    except Exception:  # as it does later, where what to do then is decided
        return None
    return FirstPace(_seconds_a_step(workload, steps, evaluated) / len(seeds), len(seeds))


def _short(workload: Workload) -> Workload:
    """As long as is timed, evaluated after each chunk."""
    return replace(workload, num_steps=CHUNK_STEPS * (MOST_CHUNKS + 1), eval_every=CHUNK_STEPS)


def _mean_seconds(chunk: Callable[[], object]) -> float:
    seconds = [_seconds(chunk)]
    while len(seconds) <= MOST_CHUNKS and sum(seconds[1:]) < ENOUGH_SECONDS and sum(seconds) < MOST_SECONDS:
        seconds.append(_seconds(chunk))
    return fmean(seconds[1:] or seconds)


def _seconds(chunk: Callable[[], object]) -> float:
    begun = time.perf_counter()
    chunk()
    return time.perf_counter() - begun


def _seconds_a_step(workload: Workload, steps: float, evaluated: float) -> float:
    """From the seconds of a chunk of steps, and of one with an evaluation; a training is evaluated at step 0 too."""
    evaluation = max(0.0, evaluated - steps)
    return steps / CHUNK_STEPS + evaluation * (1 / workload.eval_every + 1 / workload.num_steps)
