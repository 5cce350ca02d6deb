"""Fits how pilots tell a longer training's LR, and judges designs of pilots: `python benchmarks/fit_transfer.py [--write]`.

Reads the pilots of transfer_fit.json and of transfer_older.json (made by transfer_pilots.py and transfer_older.py) and the truth of the
same tasks; the older ones count for .3 each, since they are less like what people train. For each schedule

    best(T) - best(T_r) = exponent log10(T / T_r) + repeated (decades of passes over the data beyond three)

by robust least squares on the middles of basins, shrunk towards all schedules' together; the scatter is what that leaves, beside the noise
of a best LR. Then what designs of pilots come to, as the library would place them, each task by what was fitted without its family (an
older one without those of its data), on the lifelike tasks and on the older ones: the mean regret at T, how often the 80% interval holds
the best LR, and its interval score. Beside them the suggestion, whose constants were fitted on these very tasks, and the best LR of short
trainings moved unchanged. `--write` puts the constants into
lr_search/scaling/transfer.json; what is there of a basin's shape stays.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
from judge_regrets import RegretCurve
from judge_statistics import difference, estimate, interval_score, task_means
from transfer_designs import PLAN_OF, Design, TransferCase, answer, cost, older_cases, pilots_of, transfer_cases

from lr_search.curves.calibrated import OFTEN
from lr_search.scaling.transfer_constants import Drift, TransferConstants, transfer_constants

TARGET = Path(__file__).parents[1] / "lr_search" / "scaling" / "transfer.json"
SCHEDULES = ("constant", "cosine", "one_cycle", "wsd")
SHORTEST, LONGEST = 40, 3.4  # T / T_r of the rungs that are fitted
OLDER_COUNT = 0.3  # of a lifelike task
SHRINKAGE = 30.0  # squared decades of steps that all schedules' together count for
BASIN = 0.03  # regret
HUBER = 0.4  # decades beyond which an error counts in proportion only
FINE = 400

Row = tuple[
    float, float, float, float
]  # decades longer, decades of repeated passes, decades that the basin moved, weight


def fitted(cases: Sequence[TransferCase], base: TransferConstants) -> TransferConstants:
    """The constants after these trainings. Args: base: those that are not fitted here."""
    rows = {schedule: rows_of([c for c in cases if c.truth.schedule == schedule]) for schedule in SCHEDULES}
    pooled = np.concatenate(list(rows.values()))
    law, alone = robust(pooled, 2), robust(pooled, 1)
    scatter = spread(pooled, law, base.argmin_std)
    drifts = {}
    for schedule, found in rows.items():
        own = robust(found, 2, law)
        exponent, repeated = own.tolist()
        own_scatter = (spread(found, own, base.argmin_std) + scatter) / 2
        (by_itself,) = robust(found, 1, alone).tolist()
        drifts[schedule] = Drift(round(exponent, 3), round(repeated, 3), round(by_itself, 3), round(own_scatter, 3))
    return replace(base, drifts=drifts)


def rows_of(cases: Sequence[TransferCase]) -> np.ndarray:
    """(rungs, 4): see `Row`."""
    found: list[Row] = []
    for case in cases:
        for steps in case.rungs:
            longer = case.truth.num_steps / steps
            if LONGEST < longer < SHORTEST:
                passes = np.clip(np.array([case.truth.num_steps, steps]) / case.steps_per_epoch, *OFTEN)
                moved = middle(case.truth) - middle(case.rungs[steps])
                counts = OLDER_COUNT if case.older else 1.0
                found.append((float(np.log10(longer)), float(np.log10(passes[0] / passes[1])), moved, counts))
    return np.array(found).reshape(-1, 4)


@cache
def _middle(places: tuple[float, ...], regrets: tuple[float, ...]) -> float:
    fine = np.linspace(places[0], places[-1], FINE)
    inside = np.interp(fine, places, regrets) <= BASIN
    best = int(np.argmin(np.interp(fine, places, regrets)))
    low = best - int(np.argmin(inside[best::-1])) + 1 if not inside[: best + 1].all() else 0
    high = best + int(np.argmin(inside[best:])) - 1 if not inside[best:].all() else FINE - 1
    return float(fine[low] + fine[high]) / 2


def middle(curve: RegretCurve) -> float:
    """log10 of the middle of the LRs about the best that lose little."""
    return _middle(tuple(curve.places.tolist()), tuple(curve.regrets.tolist()))


def robust(rows: np.ndarray, terms: int, towards: np.ndarray | None = None) -> np.ndarray:
    """Huber's regression without a constant on the first columns, shrunk to other weights. Args: rows: see `Row`, (rungs, 4)."""
    design, wanted, counts = rows[:, :terms], rows[:, 2], rows[:, 3]
    start = np.zeros(terms) if towards is None else towards
    ridge = 0.0 if towards is None else SHRINKAGE
    shares, found = counts, start
    for _ in range(30):
        left = design.T @ (shares * (wanted - design @ start))
        found = start + np.linalg.solve((design.T * shares) @ design + ridge * np.eye(terms), left)
        shares = counts * np.minimum(1.0, HUBER / np.maximum(np.abs(wanted - design @ found), 1e-9))
    return np.asarray(found)


def spread(rows: np.ndarray, law: np.ndarray, argmin_std: float) -> float:
    """What is left of the moves, a decade of steps, beside the noise of a best LR."""
    left = (rows[:, 2] - rows[:, : len(law)] @ law) ** 2 - argmin_std**2
    return float(np.sqrt(max(0.0, rows[:, 3] @ left / (rows[:, 3] @ rows[:, 0] ** 2))))


Result = tuple[float, tuple[float, float] | None]  # log10 LR, the interval's ends
Way = Callable[[TransferCase, TransferConstants], Result]


def by_design(design: Design) -> Way:
    """What the library says after these pilots."""

    def way(case: TransferCase, constants: TransferConstants) -> Result:
        found = answer(case, pilots_of(case, design, constants), constants)
        low, high = np.log10(found.interval).tolist()
        return float(np.log10(found.lr)), (low, high)

    return way


def unchanged(divisor: int) -> Way:
    """The best LR of all that were trained at a length, moved unchanged."""

    def way(case: TransferCase, constants: TransferConstants) -> Result:
        rung = case.rungs[case.steps(divisor)]
        return float(rung.places[int(rung.drops.argmax())]), None

    return way


def suggested(case: TransferCase, constants: TransferConstants) -> Result:
    """The range test's."""
    return float(np.log10(case.prior.mode)), None


def told(name: str, way: Way, cases: Sequence[TransferCase], folds: dict[str, TransferConstants]) -> dict[str, float]:
    """Print a row. Returns: task -> its mean regret."""
    found = [way(case, folds[case.family]) for case in cases]
    losses = [min(1.0, case.truth.regret(place)) for case, (place, _) in zip(cases, found, strict=True)]
    by_task = task_means(zip([case.truth.task for case in cases], losses, strict=True))
    kinds = [(case.truth.schedule, case.truth.num_steps) for case in cases]
    parts = [np.mean([loss for loss, k in zip(losses, kinds, strict=True) if k == kind]) for kind in sorted(set(kinds))]
    known = [
        (case.truth.best, ends)
        for case, (_, ends) in zip(cases, found, strict=True)
        if case.truth.best is not None and ends
    ]
    held = np.mean([low <= best <= high for best, (low, high) in known]) if known else np.nan
    score = np.mean([interval_score(low, high, best) for best, (low, high) in known]) if known else np.nan
    mean = estimate(list(by_task.values()))
    print(
        f"{name:<24} {mean.mean:.4f} ({mean.low:.3f} to {mean.high:.3f})  "
        + " ".join(f"{part:.3f}" for part in parts)
        + f"  above .2 {np.mean(np.array(losses) > 0.2):4.0%}"
        + (f"  holds {held:4.0%}  score {score:.2f}" if known else ""),
        flush=True,
    )
    return by_task


def compared(
    side: str, cases: Sequence[TransferCase], folds: dict[str, TransferConstants], designs: Iterable[str]
) -> None:
    """Print what designs come to on the tasks of one side."""
    kinds = sorted({(case.truth.schedule, case.truth.num_steps) for case in cases})
    tasks, families = {case.truth.task for case in cases}, {case.family for case in cases}
    print(f"\n{side}: {len(cases)} trainings, {len(tasks)} tasks, {len(families)} families; by {kinds}")
    plain = told("suggestion", suggested, cases, folds)
    for divisor in (32, 16, 8, 4, 3):
        told(f"best of T/{divisor}, unchanged", unchanged(divisor), cases, folds)
    for name in designs:
        price = cost(PLAN_OF[name], 3000)
        found = told(f"{name} ({price:.2f})", by_design(PLAN_OF[name]), cases, folds)
        apart, _ = difference(found, plain)
        print(f"{'':<24} above the suggestion {apart.mean:+.4f} ({apart.low:+.3f} to {apart.high:+.3f})")


def main() -> None:
    """Fit, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--designs", nargs="*", choices=list(PLAN_OF), metavar="NAME", help="only these; default: all")
    given = parser.parse_args()
    sides, base = {"lifelike": transfer_cases(), "older": older_cases()}, transfer_constants()
    cases = [case for of_side in sides.values() for case in of_side]
    constants = fitted(cases, base)
    for schedule, drift in constants.drifts.items():
        print(f"{schedule:<10} " + "  ".join(f"{name} {value:+.3f}" for name, value in asdict(drift).items()))
    families = {case.family for case in cases}
    folds = {family: fitted([c for c in cases if c.family != family], base) for family in families}
    for side, of_side in sides.items():
        compared(side, of_side, folds, PLAN_OF if given.designs is None else given.designs)
    if given.write:
        record = json.loads(TARGET.read_text()) | {"drifts": {k: asdict(d) for k, d in constants.drifts.items()}}
        TARGET.write_text(json.dumps(record, indent=2) + "\n")
        print(f"\nwritten to {TARGET}")


if __name__ == "__main__":
    main()
