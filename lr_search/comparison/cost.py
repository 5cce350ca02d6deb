"""What a comparison will cost, said before it starts: trials, steps, and the time they need by the pace of a few."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lr_search.comparison.budget import Budget
from lr_search.comparison.question import Question
from lr_search.comparison.search_ranges import range_lines
from lr_search.executors.first_pace import FirstPace
from lr_search.results.costs import duration_text
from lr_search.storage.records import TrialRecord


def plan_text(
    budget: Budget, to_confirm: int, done: Sequence[TrialRecord], pace_of: Callable[[int], FirstPace | None]
) -> str:
    """The studies, and what is left to run of them.

    Args:
        budget: of the question.
        to_confirm: steps that are left of the trainings on fresh seeds.
        done: the trials that an earlier call has finished.
        pace_of: how many trials -> how fast they will be run, as measured, or None.
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
        *_pilot_lines(budget),
        *_pruner_lines(asked),
        *([] if asked.today is None else [f"beside it {asked.today.describe()}: one training a seed"]),
    ]
    if done:
        lines.append(f"{_count(len(done), 'trial')} and {sum(t.steps for t in done):,} steps are done already")
    trials = max(0, budget.total_trials() - len(done))
    steps = max(0, budget.total_steps() - sum(t.steps for t in done))
    if asked.prunes_any:
        steps = steps if steps >= full else 0
    elif not trials:
        steps = 0
    if not steps + to_confirm:
        return "\n".join([*lines, "nothing is left to train"])
    more = " more" if done else ""
    plan = f"at most {_count(trials, f'trial{more}', f'trials{more}')} and {steps:,} steps in all"
    if asked.prunes_any:  # trials that are cut leave steps for others
        plan = f"at most {steps:,}{more} steps in all"
    plan += f", and {to_confirm:,} steps to confirm" if to_confirm else ""
    lines.append(f"{plan}{_time_text(asked, steps + to_confirm, pace_of(trials))}")
    return "\n".join(lines)


def _pilot_lines(budget: Budget) -> list[str]:
    """Which pilots a study of each strategy that has some pays for."""
    full = budget.asked.workload.num_steps
    lines = []
    for strategy in budget.asked.strategies:
        told = [
            f"{_count(count, 'pilot')} of {rung.num_steps(full):,} steps" for rung, count in budget.rungs_of(strategy)
        ]
        if told:
            full_from = budget.full_from(strategy)
            no_more = f", and has no full training, to confirm or to tell against today's: it has one from a budget of {full_from} on"
            lines.append(
                f"{strategy.name}: a study begins with {' and '.join(told)}{'' if budget.trains(strategy) else no_more}"
            )
    return lines


def _pruner_lines(asked: Question) -> list[str]:
    """Which pruner was chosen for each schedule, and why."""
    layouts = {name: layout for side in asked.sides.values() for name, layout in side.layouts.items()}
    chosen = {name: asked.pruner_of(layout)[1] for name, layout in layouts.items()}
    lines = [f"pruner under {name}: {why}" for name, why in chosen.items() if why]
    own = [strategy.name for strategy in asked.strategies if strategy.pruner is not None and asked.pruner is not None]
    return [*lines, *(f"pruner of {name}: its own" for name in own)]


def _time_text(asked: Question, steps: int, pace: FirstPace | None) -> str:
    if pace is None:
        return ": for how long is unknown, since the first steps raised an exception"
    about = f": about {duration_text(steps * pace.seconds_a_step)} at the pace of the first steps"
    together = f", {pace.at_once} trials at once" if pace.at_once > 1 else ""
    return f"{about} on one {asked.workload.torch_device.type}{together}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
