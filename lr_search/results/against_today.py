"""What was gained over the learning rate that the user trains with today, how sure that is, and what finding out cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lr_search.results.candidates import AS_GOOD, Candidate
from lr_search.results.finding_out import finding_out
from lr_search.results.statistics import MIN_SEEDS, Interval, paired_interval
from lr_search.storage.records import StudyRecord

TodayVerdict = Literal["better", "as good", "worse", "not told apart", "too few seeds", "not trained"]


@dataclass(frozen=True)
class AgainstToday:
    """What was found, against what the user trains with today.

    The winner was chosen among the very trials that it is measured on, and today's was not: a gain is unconfirmed until both were
    trained on fresh seeds.

    Args:
        sentence: all of it in words.
        verdict: what was found is "better", or "worse"; or today's is "as good", and can stay; or the seeds do not tell them apart,
            or are too few to; or today's was not trained (yet).
        confirmed: whether both were trained on fresh seeds.
        lr: today's (peak) LR.
        schedule: today's, by name.
        optimizer: today's, by name.
        value: the objective with today's, the mean over the seeds that both have; a diverged training counts as step 0. nan where
            there is none.
        found: the same of what is recommended.
        difference: how much worse today's is, paired over seeds; None where there is none.
        trials: how many trainings, range tests and probes finding out took, those to confirm included; today's own are not.
        steps: optimizer steps of these.
        seconds: the time in these, whether one after the other or not.
    """

    sentence: str
    verdict: TodayVerdict
    confirmed: bool
    lr: float
    schedule: str
    optimizer: str
    value: float
    found: float
    difference: Interval | None
    trials: int
    steps: int
    seconds: float

    @property
    def keep(self) -> bool:
        """Whether today's is to be kept, rather than what was found."""
        return self.verdict in ("as good", "worse")


@dataclass(frozen=True)
class _Result:
    """What one training came to. Args: value: the objective, no worse than at step 0; diverged: whether it did."""

    value: float
    diverged: bool


def against_today(
    records: Sequence[StudyRecord], best: Candidate, fresh: Mapping[int, float] | None = None
) -> AgainstToday | None:
    """The answer against today's; None where `compare` was not told what that is.

    Args:
        records: of the comparison.
        best: what is recommended.
        fresh: its objective on fresh seeds, by seed; None where it was not confirmed.
    """
    studies = [study for study in records if study.kind == "today"]
    if not studies:
        return None
    plan = studies[0].plan
    ours, todays = fresh or {}, _results(study for study in records if _confirms(study, plan))
    confirmed = bool(ours.keys() & todays.keys())
    if not confirmed:
        ours, todays = best.seed_values, _results(studies)
    shared = [seed for seed in ours if seed in todays]
    found, value = _mean([ours[seed] for seed in shared]), _mean([todays[seed].value for seed in shared])
    gains = [best.sign * (todays[seed].value - ours[seed]) for seed in shared]
    difference = paired_interval(gains) if shared else None
    verdict = _verdict(difference, AS_GOOD * best.sign * (best.start - found))
    spent = finding_out(records)
    sentence = _sentence(
        verdict,
        difference,
        today=_in_words(plan, best),
        found=f"{plan['objective']} {found:.4g}",
        value=f"{value:.4g}",
        diverged=all(todays[seed].diverged for seed in shared),
        seeds=f"{len(shared)} {'fresh ' * confirmed}seed{'s' * (len(shared) != 1)}",
        cost=spent.in_words(),
        confirmed=confirmed,
    )
    return AgainstToday(
        sentence, verdict, confirmed, float(plan["lr"]), str(plan["schedule"]), str(plan["optimizer"]), value, found,
        difference, spent.trials, spent.steps, spent.seconds,
    )  # fmt: skip


def without_a_winner(records: Sequence[StudyRecord]) -> str:
    """What today's comes to where nothing that was searched ended well; empty where that did not either."""
    studies = [study for study in records if study.kind == "today"]
    values = [result.value for result in _results(studies).values() if not result.diverged]
    if not values:
        return ""
    plan = studies[0].plan
    return f" Today's {plan['lr']:.3g} under {plan['schedule']} gives {plan['objective']} {_mean(values):.4g}: keep it until then."


def _results(studies: Iterable[StudyRecord]) -> dict[int, _Result]:
    """By seed."""
    return {
        study.plan["seed"]: _Result(study.clipped(trial.value), not math.isfinite(trial.value))
        for study in studies
        for trial in study.trials
        if trial.state == "COMPLETE"
    }


def _confirms(study: StudyRecord, today: Mapping[str, Any]) -> bool:
    """Whether it trains on a fresh seed as today's does: as such, or because the search found the same."""
    same = all(study.plan[name] == today[name] for name in ("schedule", "optimizer"))
    return study.kind == "confirm" and same and all(t.lr == today["lr"] and not t.shape for t in study.trials)


def _verdict(gain: Interval | None, little: float) -> TodayVerdict:
    """Args: gain: how much worse today's is; little: a difference that counts as none."""
    if gain is None:
        return "not trained"
    if gain.mean <= 0:
        return "worse" if gain.n >= MIN_SEEDS and gain.high < 0 else "as good"
    if gain.n < MIN_SEEDS:
        return "too few seeds"
    if gain.low > 0:
        return "better"
    return "as good" if gain.high <= little else "not told apart"


def _sentence(
    verdict: TodayVerdict,
    gain: Interval | None,
    *,
    today: str,
    found: str,
    value: str,
    diverged: bool,
    seeds: str,
    cost: str,
    confirmed: bool,
) -> str:
    if gain is None:
        return f"There is no result of {today} to compare with yet."
    between = f"95% interval of the gain: {gain.low:.2g} to {gain.high:.2g}"
    if verdict == "as good":
        return f"{today[:1].upper()}{today[1:]} is as good: keep it ({value}, where {found} was found, for {cost})."
    if verdict == "worse":
        return f"{today[:1].upper()}{today[1:]} is better: keep it ({value}, where {found} was found, for {cost})."
    if verdict == "not told apart":
        return f"{seeds} cannot tell what was found from {today}: {found} against {value} ({between}), for {cost}."
    gained = f"{found} where {today} {'diverges' if diverged else f'gives {value}'}, for {cost}"
    if verdict == "too few seeds":
        return f"{gained}; {seeds} cannot tell the gain from chance."
    if confirmed:
        return f"{gained}; confirmed on {seeds} ({between})."
    return f"{gained}; unconfirmed: the winner was chosen among these trials, today's was not."


def _in_words(today: Mapping[str, Any], best: Candidate) -> str:
    """By the LR, and by what else is not as in the answer."""
    schedule = f" under {today['schedule']}" if today["schedule"] != best.schedule else ""
    optimizer = f" with {today['optimizer']}" if today["optimizer"] != best.optimizer else ""
    return f"today's {today['lr']:.3g}{schedule}{optimizer}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
