"""What to train with: the LR, schedule and optimizer whose smoothed result over all trials and seeds is best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lr_search.curves.remarks import groups_remark
from lr_search.errors import LRSearchError
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Steps
from lr_search.results.against_today import AgainstToday, against_today, without_a_winner
from lr_search.results.candidates import Candidate, candidates
from lr_search.results.code.recommended_code import code_for
from lr_search.results.statistics import MIN_SEEDS, Interval, mean_interval, paired_interval
from lr_search.storage.records import StudyRecord


@dataclass(frozen=True)
class Choice:
    """A learning rate under a schedule, with an optimizer.

    Args:
        schedule: its name.
        lr: the peak LR; with several parameter groups, the first group's, and `reason` says what the others train with.
        optimizer: its name.
        value: the objective it reached: the mean over seeds.
        shape: the schedule's options that were searched beside the LR.
    """

    schedule: str
    lr: float
    optimizer: str
    value: float
    shape: Mapping[str, float] = field(default_factory=dict)


@checked
@dataclass(frozen=True)
class Recommendation:
    """What to train with, and how sure that is.

    Args:
        schedule: its name.
        lr: the peak LR; with several parameter groups, the first group's, and `reason` says what the others train with.
        optimizer: its name.
        value: the objective to expect: the mean over fresh seeds where confirmed, else the smoothed mean over the trials.
        reason: why, and how sure, in words.
        confirmed: whether it was trained again on fresh seeds.
        shape: the schedule's options that were searched beside the LR: `by_name(schedule, lr, ..., **shape)`.
        on_test_data: whether `value` was judged on the workload's test_data; False: on its valid_data; None: a training function has
            reported it, of the data that it chose.
        objective: the name of what `value` is.
        num_steps: of the training.
        interval: the 95% t-interval of `value` over seeds; its ends are nan with fewer than 3.
        bounds: the LRs between which the objective stays within 5% of the way from the best to that of step 0.
        runner_up: the next best schedule or optimizer, at its best LR; None where only one was tried.
        difference: how much worse the runner-up is, paired over seeds; None without one.
        against_today: what it gains over the LR that is used today, and at what cost; None without `compare(..., today=)`.
        code: plain PyTorch lines, to be pasted.
    """

    schedule: str
    lr: float
    optimizer: str
    value: float
    reason: str
    confirmed: bool = False
    shape: Mapping[str, float] = field(default_factory=dict)
    on_test_data: bool | None = False
    objective: str = "loss"
    num_steps: Steps = 0
    interval: Interval | None = None
    bounds: tuple[float, float] | None = None
    runner_up: Choice | None = None
    difference: Interval | None = None
    against_today: AgainstToday | None = None
    code: str = field(default="", repr=False)

    def __str__(self) -> str:
        first = "" if self.against_today is None else f"{self.against_today.sentence}\n"
        return f"{first}{self.training}: {self.objective} {self.value:.4g}; {self.reason}"

    def _repr_html_(self) -> str:
        from lr_search.report.notebook import recommendation_html

        return recommendation_html(self)

    @property
    def training(self) -> str:
        """What to train with, in words: schedule, LR (a peak, where it moves) and optimizer."""
        name = "learning rate" if self.schedule == "constant" else "peak learning rate"
        return f"{self.schedule_text}, {name} {self.lr:.3g}, {self.optimizer}"

    @property
    def heading(self) -> str:
        """What `training` is to its reader: what to train with, or, where today's is to be kept, the best of what was searched."""
        keep = self.against_today is not None and self.against_today.keep
        return "Best of the search" if keep else "Train with"

    @property
    def schedule_text(self) -> str:
        """The schedule's name, and its shape where that was searched."""
        shape = ", ".join(f"{name} {value:.3g}" for name, value in self.shape.items())
        return f"{self.schedule} ({shape})" if shape else self.schedule

    @property
    def is_real(self) -> bool | None:
        """Whether the runner-up is worse beyond what the seeds differ; None without one, or with fewer than 3 seeds."""
        if self.difference is None or self.difference.n < MIN_SEEDS:
            return None
        return self.difference.low > 0

    def to_json(self) -> dict[str, Any]:
        """Everything, as what JSON can hold, what was gained over today's first; numbers that are not finite become None."""
        result: dict[str, Any] = _jsonable(asdict(self))
        return {"against_today": result.pop("against_today"), **result}

    def optuna_params(self) -> dict[str, float]:
        """The parameters of a trial: `study.enqueue_trial(best.optuna_params())` tries it first."""
        return {"lr": self.lr, **self.shape}

    def ray_config(self) -> dict[str, Any]:
        """A config for Ray Tune, as `lr_search_ray.schedule_of` and `tune_objective` read it."""
        return {
            "lr": self.lr,
            "schedule": self.schedule,
            **{f"{self.schedule}.{name}": value for name, value in self.shape.items()},
        }


def recommend(records: Sequence[StudyRecord]) -> Recommendation:
    """The best candidate; where `confirm=` trained the best two on fresh seeds, the better of those.

    Raises:
        LRSearchError: no trial is complete, or all diverged.
    """
    result = candidates(records)
    if not result:
        raise LRSearchError(f"A recommendation needs a trial that ended well, but there is none. {lack(records)}")
    confirmed = confirmations(records, result)
    if confirmed:
        return _confirmed(records, confirmed)
    best, second = result[0], result[1] if len(result) > 1 else None
    search = next(s for s in records if s.kind == "search")
    objective = str(search.plan["objective"])
    end = "lowest" if best.sign > 0 else "highest"
    difference = None if second is None else second.worse_by(best)
    trials = f"{best.trials} trial{'s' if best.trials != 1 else ''}"
    reason = f"{end} smoothed {objective} over {trials} on {_seeds(len(best.seeds))}{_error(best.interval)}"
    runner_up = (
        None if second is None else Choice(second.schedule, second.lr, second.optimizer, second.value, second.shape)
    )
    reason += _next(runner_up, difference, "")
    reason += ". Unconfirmed: it was chosen among these very trials; confirm=3 trains it again on fresh seeds."
    return Recommendation(
        best.schedule, best.lr, best.optimizer, best.value, confirmed=False, shape=best.shape, on_test_data=search.on_test_data,
        **_common(records, best, reason), interval=best.interval, runner_up=runner_up, difference=difference,
        against_today=against_today(records, best),
    )  # fmt: skip


def _common(records: Sequence[StudyRecord], best: Candidate, reason: str) -> dict[str, Any]:
    plan = next(
        s.plan
        for s in records
        if (s.kind, s.plan["schedule"], s.plan["optimizer"]) == ("search", best.schedule, best.optimizer)
    )
    groups = (plan.get("optimizer_call") or {}).get("groups")
    ratios = [group["ratio"] for group in groups] if isinstance(groups, list) and groups else [1.0]
    return {
        "reason": reason + groups_remark([best.lr * ratio for ratio in ratios]),
        "objective": str(plan["objective"]),
        "num_steps": int(plan["num_steps"]),
        "bounds": best.bounds if math.isfinite(best.bounds[0]) else None,  # no objective at step 0 was told
        "code": code_for(plan, best.lr, best.shape),
    }


def _next(runner_up: Choice | None, difference: Interval | None, kind: str) -> str:
    """What comes next, and whether it is worse indeed."""
    if runner_up is None or difference is None:
        return ""
    text = f"; next: {runner_up.schedule} with {runner_up.optimizer} at {runner_up.lr:.3g}, {runner_up.value:.4g}, "
    seeds = _seeds(difference.n, kind)
    if difference.n < MIN_SEEDS:
        return f"{text}and {seeds} {'is' if difference.n == 1 else 'are'} too few to say whether it is worse"
    interval = f"(95% interval of the difference: {difference.low:.2g} to {difference.high:.2g})"
    if difference.low > 0:
        return f"{text}worse on {seeds} {interval}"
    return f"{text}which {seeds} do not tell apart {interval}"


def lack(records: Sequence[StudyRecord]) -> str:
    """Why nothing can be recommended, and what to do."""
    states = {t.state for s in records if s.kind == "search" for t in s.trials}
    if not states and any(t.state == "COMPLETE" for s in records if s.kind == "pilot" for t in s.trials):
        return "No full training was run: the pilots tell what to train with, and nothing of how well that does."
    text = "No trial is complete yet: run the comparison, or go on with it, and make the report again."
    if "COMPLETE" in states:
        text = "Every complete trial diverged: search lower learning rates; the trials' reasons say how each ended."
    elif "FAIL" in states:
        text = "Every trial that ended failed: mend the cause that the tracebacks show, then start over."
    return text + without_a_winner(records)


@dataclass(frozen=True)
class Confirmed:
    """What a candidate reached on fresh seeds. Args: candidate: which; values: fresh seed -> objective."""

    candidate: Candidate
    values: Mapping[int, float]

    @property
    def interval(self) -> Interval:
        """The mean over fresh seeds."""
        return mean_interval(list(self.values.values()))

    @property
    def choice(self) -> Choice:
        """With the mean over fresh seeds."""
        best = self.candidate
        return Choice(best.schedule, best.lr, best.optimizer, self.interval.mean, best.shape)


def confirmations(records: Sequence[StudyRecord], best: Sequence[Candidate]) -> list[Confirmed]:
    """The candidates that were trained again; those of the present best two only."""
    current = {(c.schedule, c.optimizer, c.lr): c for c in best[:2]}
    groups: dict[tuple[str, str, float], dict[int, float]] = {}
    for study in records:
        for trial in study.trials if study.kind == "confirm" else ():
            key = (study.plan["schedule"], study.plan["optimizer"], trial.lr)
            if key in current and trial.state == "COMPLETE":
                groups.setdefault(key, {})[study.plan["seed"]] = study.clipped(trial.value)
    return [Confirmed(current[key], values) for key, values in groups.items()]


def _confirmed(records: Sequence[StudyRecord], confirmed: Sequence[Confirmed]) -> Recommendation:
    sign = confirmed[0].candidate.sign
    ranked = sorted(confirmed, key=lambda each: sign * each.interval.mean)
    best, interval = ranked[0], ranked[0].interval
    tested = next(study.on_test_data for study in records if study.kind == "confirm")
    reason = (
        f"mean of {_seeds(interval.n, 'fresh ')}, trained again after the search{judged_on(tested)}{_error(interval)}"
    )
    runner_up, difference = None, None
    if len(ranked) > 1:
        runner_up = ranked[1].choice
        shared = [seed for seed in best.values if seed in ranked[1].values]
        difference = paired_interval([sign * (ranked[1].values[seed] - best.values[seed]) for seed in shared])
        reason += _next(runner_up, difference, "fresh ")
    chosen = best.choice
    return Recommendation(
        chosen.schedule, chosen.lr, chosen.optimizer, chosen.value, confirmed=True, shape=chosen.shape, on_test_data=tested,
        **_common(records, best.candidate, f"{reason}."), interval=interval, runner_up=runner_up, difference=difference,
        against_today=against_today(records, best.candidate, best.values),
    )  # fmt: skip


def judged_on(on_test_data: bool | None) -> str:
    """What ends a sentence about a training. Args: on_test_data: as in `Recommendation`."""
    return "" if on_test_data is None else f", judged on {'test' if on_test_data else 'valid'}_data"


def _error(interval: Interval) -> str:
    if interval.n < MIN_SEEDS:
        return ", too few for an interval"
    return f" (95% interval {interval.low:.4g} to {interval.high:.4g})"


def _seeds(count: int, kind: str = "") -> str:
    return f"{count} {kind}seed{'s' if count != 1 else ''}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
