"""What a comparison will cost, said before it starts: trials, steps, and the time they need by the pace of a few."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from lr_search.comparison.budget import Budget
from lr_search.comparison.question import Question
from lr_search.comparison.search_ranges import range_lines
from lr_search.errors import LRSearchError
from lr_search.schedules.decay import Constant
from lr_search.storage.records import TrialRecord
from lr_search.training.training import train
from lr_search.workloads.workload import PROBE_LR, Workload

_STEPS = 20
_BETWEEN = 5  # steps between evaluations
MOST_SECONDS = 5.0


def seconds_a_step(workload: Workload) -> float | None:
    """Seconds an optimizer step takes, its share of the evaluations included; None where a step raises an exception.

    Takes up to 20 steps of a training that is then thrown away; they are not charged.
    """
    evaluation_seconds, chunks = 0.0, []
    training = None
    try:
        training = train(replace(workload, num_steps=_STEPS, eval_every=_BETWEEN), Constant(PROBE_LR))
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
    step_seconds = max(min(chunks) - evaluation_seconds, 0.1 * min(chunks)) / _BETWEEN
    return step_seconds + evaluation_seconds / workload.eval_every


def plan_text(budget: Budget, confirm: int, done: Sequence[TrialRecord]) -> str:
    """The studies, and what is left to run of them.

    Args:
        budget: of the question.
        confirm: fresh seeds on which the best two are trained again.
        done: the trials that an earlier call has finished.
    """
    asked = budget.asked
    dims = [
        _count(len(asked.strategies), "strategy", "strategies"),
        _count(len(asked.layouts), "schedule"),
        _count(len(asked.sides), "optimizer"),
        _count(len(asked.seeds), "seed"),
    ]
    full = asked.workload.num_steps
    notes = [side.note for side in asked.sides.values() if side.note]
    but = ", where the optimizers' own rules allow" if notes else ""
    lines = [
        f"{asked.name}: {_count(asked.num_studies, 'study', 'studies')} ({' x '.join(dims)}{but}), "
        f"budget {asked.budget:g} full trainings of {full:,} steps each",
        *notes,
        *range_lines(asked),
        *_pruner_lines(asked),
    ]
    if done:
        lines.append(f"{_count(len(done), 'trial')} and {sum(t.steps for t in done):,} steps are done already")
    trials = max(0, budget.total_trials() - len(done))
    steps = max(0, budget.total_steps() - sum(t.steps for t in done))
    if asked.prunes_any:
        steps = steps if steps >= full else 0
    elif not trials:
        steps = 0
    confirmed = 2 * confirm * full
    if not steps + confirmed:
        return "\n".join([*lines, "nothing is left to train"])
    more = " more" if done else ""
    plan = f"at most {_count(trials, f'trial{more}', f'trials{more}')} and {steps:,} steps in all"
    if asked.prunes_any:  # trials that are cut leave steps for others
        plan = f"at most {steps:,}{more} steps in all"
    plan += f", and {confirmed:,} steps to confirm" if confirm else ""
    lines.append(f"{plan}{_time_text(asked, steps + confirmed)}")
    return "\n".join(lines)


def _pruner_lines(asked: Question) -> list[str]:
    """Which pruner was chosen for each schedule, and why."""
    layouts = {name: layout for side in asked.sides.values() for name, layout in side.layouts.items()}
    chosen = {name: asked.pruner_of(layout)[1] for name, layout in layouts.items()}
    lines = [f"pruner under {name}: {why}" for name, why in chosen.items() if why]
    own = [strategy.name for strategy in asked.strategies if strategy.pruner is not None and asked.pruner is not None]
    return [*lines, *(f"pruner of {name}: its own" for name in own)]


def _time_text(asked: Question, steps: int) -> str:
    pace = seconds_a_step(asked.workload)
    if pace is None:
        return ": for how long is unknown, since the first steps raised an exception"
    return f": about {_duration(steps * pace)} at the pace of the first steps on one {asked.workload.torch_device.type}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
