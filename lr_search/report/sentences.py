"""The page's sentences: what the numbers say."""

from __future__ import annotations

import math

from lr_search.report.cells import cell
from lr_search.report.facts import Facts, steps_taken
from lr_search.results.findings import Findings
from lr_search.results.recommendation import Recommendation
from lr_search.results.statistics import MIN_SEEDS, Interval

CONFIRM = 3  # fresh seeds that are proposed


def answer_facts(best: Recommendation) -> Facts:
    """What to expect of the recommendation, and how sure it is."""
    facts = [("expect", f"{best.objective} {best.value:.4g}{_between(best.interval)}"), ("confirmed", _confirmed(best))]
    if best.bounds is not None and math.isfinite(best.bounds[0]):
        low, high = best.bounds
        facts.append(("about as good", f"peak learning rates from {low:.2g} to {high:.2g}"))
    if best.num_steps:
        facts.append(("steps", f"{best.num_steps:,}"))
    runner_up = best.runner_up
    if runner_up is not None:
        name = f"{runner_up.schedule}, peak learning rate {runner_up.lr:.3g}, {runner_up.optimizer}"
        facts.append(("runner-up", f"{name}: {best.objective} {runner_up.value:.4g}, {_real(best)}"))
    return facts


def _between(interval: Interval | None) -> str:
    if interval is None:
        return ""
    if interval.n < MIN_SEEDS:
        return f" ({_count(interval.n, 'seed')}: too few for an interval)"
    return f" (95% interval {interval.low:.4g} to {interval.high:.4g}, {_count(interval.n, 'seed')})"


def _confirmed(best: Recommendation) -> str:
    if best.confirmed:
        return f"yes: trained again on fresh seeds after the search, judged on {'test' if best.on_test_data else 'valid'}_data"
    return "no: it was chosen among the very trials that it was measured on, which flatters it"


def _real(best: Recommendation) -> str:
    difference = best.difference
    if best.is_real is None or difference is None:
        return f"and {_count(0 if difference is None else difference.n, 'seed')} cannot say whether it is worse"
    interval = f"{difference.low:.2g} to {difference.high:.2g}"
    if best.is_real:
        return f"worse indeed: by {difference.mean:.2g} (95% interval {interval})"
    return f"not told apart: worse by {difference.mean:.2g} (95% interval {interval})"


def seeds_sentence(findings: Findings) -> str:
    """What so many seeds can tell; empty where they are enough."""
    seeds = len({study.plan["seed"] for study in findings.searches})
    if seeds >= MIN_SEEDS or not findings.searches:
        return ""
    return (
        f"{_count(seeds, 'seed')} cannot tell a difference from chance: compare with seeds={MIN_SEEDS} or more. "
        "Until then the differences below are only what was seen."
    )


def confirm_sentence(findings: Findings) -> str:
    """What `confirm=` did, or would do; empty where there is nothing to confirm."""
    best, again = findings.recommendation, findings.confirmations
    if best is None:
        return ""
    if best.confirmed:
        todays = again["strategy"] == "today"
        ways = again.loc[~todays, ["schedule", "optimizer", "lr"]].drop_duplicates()
        spent = f"{_count(len(again), 'training')}, {int(again['steps'].sum()):,} steps"
        fresh = _count(again["seed"].nunique(), "fresh seed")
        lead = f"After the search the best {len(ways)}{' and what is used today' * bool(todays.any())} were trained again on {fresh} ({spent})."
        return f"{lead} The answer's numbers are of these trainings alone."
    count = min(2, len(findings.candidates))
    steps = count * CONFIRM * best.num_steps
    whom = "the best two" if count == 2 else "it"
    lead = "There are trainings on fresh seeds, but of others than the present best. " if len(again) else ""
    return f"{lead}confirm={CONFIRM} would train {whom} again on {CONFIRM} fresh seeds: {steps:,} steps."


def cheapest_sentence(findings: Findings) -> str:
    """Which way of searching came close to the best with the fewest steps, and what all took."""
    frame = findings.summary(full=True).dropna(subset=["steps_to_close"])
    if frame.empty:
        return ""
    row = frame.iloc[int(frame["steps_to_close"].argmin())]
    spent = steps_taken(findings, "search", "range_test", "probe")
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
