"""How long a step takes, by taking a few."""

from __future__ import annotations

import time
from dataclasses import replace

from lr_search.errors import LRSearchError
from lr_search.schedules.constant import Constant
from lr_search.training import train
from lr_search.workload import PROBE_LR, Workload

STEPS = 20
BETWEEN = 5  # steps between evaluations
MOST_SECONDS = 5.0


def seconds_a_step(workload: Workload) -> float | None:
    """Seconds an optimizer step takes, its share of the evaluations included; None where a step raises an exception.

    Takes up to 20 steps of a training that is then thrown away; they are not charged.
    """
    evaluation_seconds, chunks = 0.0, []
    training = None
    try:
        training = train(replace(workload, num_steps=STEPS, eval_every=BETWEEN), Constant(PROBE_LR))
        begun = time.perf_counter()
        for _ in training:
            seconds = time.perf_counter() - begun
            if training.step == 0:
                evaluation_seconds = seconds
            else:
                chunks.append(seconds)
            if sum(chunks) > MOST_SECONDS:
                break
            begun = time.perf_counter()
    except LRSearchError:
        raise
    except Exception:
        return None
    finally:
        if training is not None:
            training.close()
    if not chunks:
        return None
    step_seconds = max(min(chunks) - evaluation_seconds, 0.1 * min(chunks)) / BETWEEN
    return step_seconds + evaluation_seconds / workload.eval_every
