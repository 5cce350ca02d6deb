"""The page's sentences: what the numbers say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lr_search.report.cells import cell, measured
from lr_search.report.facts import Facts, lr_words, steps_taken
from lr_search.results.finding_out import finding_out
from lr_search.results.findings import Findings
from lr_search.results.recommendation import Recommendation, judged_on
from lr_search.results.statistics import MIN_SEEDS, Interval


@dataclass(frozen=True)
class TodayMark:
    """What the answer is told against.

    Args:
        sentence: what was gained; empty where nothing is told.
        lr: the LR used today, None where it was not told, or is another optimizer's.
        value: the objective with it; nan where unknown.
    """

    sentence: str = ""
    lr: float | None = None
    value: float = math.nan


def today_mark(best: Recommendation) -> TodayMark:
    """What the recommendation says of the LR used today."""
    against = best.against_today
    if against is None:
        return TodayMark()
    return TodayMark(against.sentence, against.lr if against.optimizer == best.optimizer else None, against.value)


def answer_title(findings: Findings, best: Recommendation) -> str:
    """LR, schedule and optimizer."""
    name = lr_words(findings, best.schedule)
    return f"{name} {best.lr:.3g}, {best.schedule_text}, {best.optimizer}"


def badge(best: Recommendation) -> str:
    """How sure the answer is, in a word or two."""
    if best.interval is not None and best.interval.n < MIN_SEEDS:
        return "too few seeds"
    return "confirmed" if best.confirmed else "unconfirmed"


def answer_facts(findings: Findings, best: Recommendation) -> Facts:
    """What to expect of the recommendation, how sure it is, and what it cost."""
    objective = measured(best.objective, on_test_data=best.on_test_data)
    facts = [("expect", f"{objective} {best.value:.4g}{_between(best.interval)}")]
    facts += [("cost", finding_out(findings.records).in_words(with_range_tests=True)), ("how sure", _confirmed(best))]
    if best.bounds is not None and math.isfinite(best.bounds[0]) and best.bounds[0] < best.bounds[1]:
        low, high = best.bounds
        facts.append(("about as good", f"{lr_words(findings, best.schedule)}s from {low:.2g} to {high:.2g}"))
    if best.num_steps:
        facts.append(("for", f"a training of {best.num_steps:,} steps"))
    runner_up = best.runner_up
    if runner_up is not None:
        name = (
            f"{lr_words(findings, runner_up.schedule)} {runner_up.lr:.3g}, {runner_up.schedule}, {runner_up.optimizer}"
        )
        facts.append(("runner-up", f"{name}: {objective} {runner_up.value:.4g}, {_real(best)}"))
    return facts


def _between(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval.n < MIN_SEEDS:
        return f" ({_count(interval.n, 'seed')}: too few for an interval)"
    return f" (95% interval {interval.low:.4g} to {interval.high:.4g}, {_count(interval.n, 'seed')})"


def _confirmed(best: Recommendation) -> str:
    if best.confirmed:
        return f"confirmed: trained again on fresh seeds after the search{judged_on(best.on_test_data)}"
    return "not confirmed: it was chosen among the very trials that it was measured on, which flatters it"


def _real(best: Recommendation) -> str:
    difference = best.difference
    if best.is_real is None or difference is None:
        return f"and {_count(0 if difference is None else difference.n, 'seed')} cannot say whether it is worse"
    interval = f"{difference.low:.2g} to {difference.high:.2g}"
    if best.is_real:
        return f"worse indeed: by {difference.mean:.2g} (95% interval {interval})"
    return f"not told apart: worse by {difference.mean:.2g} (95% interval {interval})"


def seeds_sentence(findings: Findings) -> str:
    """That so few seeds cannot tell the ways of searching apart; empty where they are enough, and where the answer is confirmed."""
    best, seeds = findings.recommendation, len({study.plan["seed"] for study in findings.searches})
    if seeds >= MIN_SEEDS or len(findings.summary()) < 2 or (best is not None and best.confirmed):
        return ""
    return f"{_count(seeds, 'seed')} cannot tell a difference from chance: compare with seeds={MIN_SEEDS} or more."


def confirm_sentence(findings: Findings) -> str:
    """What `confirm=` did; empty where it did nothing for the present best."""
    best, again = findings.recommendation, findings.confirmations
    if best is None or not best.confirmed:
        return ""
    todays = again["strategy"] == "today"
    ways = again.loc[~todays, ["schedule", "optimizer", "lr"]].drop_duplicates()
    spent = f"{_count(len(again), 'training')}, {int(again['steps'].sum()):,} steps"
    fresh = _count(again["seed"].nunique(), "fresh seed")
    best_ones = "the best" if len(ways) == 1 else f"the best {len(ways)}"
    was = "was" if len(ways) == 1 and not todays.any() else "were"
    lead = f"After the search {best_ones}{' and what is used today' * bool(todays.any())} {was} trained again on {fresh} ({spent})."
    return f"{lead} The answer's numbers are of these trainings alone."


def cheapest_sentence(findings: Findings) -> str:
    """Which way of searching came close to the best with the fewest steps, and what all took."""
    ways = findings.summary(full=True)
    frame = ways.dropna(subset=["steps_to_close"])
    if frame.empty or len(ways) < 2:
        return ""
    row = frame.iloc[int(frame["steps_to_close"].argmin())]
    spent = steps_taken(findings, "search", "range_test", "probe", "pilot")
    seeds = max(1, len({study.plan["seed"] for study in findings.searches}))
    close, whole = float(row["steps_to_close"]), spent / seeds
    several = findings.summary(full=True)["optimizer"].nunique() > 1
    way = f"{row['strategy']} under {row['schedule']}{f' with {row.optimizer}' * several}"
    first = f"{way} came within 5% of the best known after {close:,.0f} steps a seed, on average"
    return f"{first}: {_part(close, whole)} of the {whole:,.0f} steps a seed that all searches took together.{_faster(row)}"


def _part(close: float, whole: float) -> str:
    times = whole / close if close else math.inf
    return f"1/{times:,.0f}" if 1.5 <= times < math.inf else f"{100 * close / max(whole, 1):.0f}%"


def _faster(row: object) -> str:
    comparisons = []
    for other in ("random", "grid"):
        times = float(getattr(row, f"faster_than_{other}"))
        if getattr(row, "strategy") != other and math.isfinite(times):  # noqa: B009
            comparisons.append(f"{cell(times, 2)} times as fast as {other}")
    return f" To the same quality it was {' and '.join(comparisons)}." if comparisons else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
