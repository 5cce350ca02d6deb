"""Fits the default rule: `python benchmarks/fit_rule.py [--write]`; with --plans only what depends on the plan, on the line that is there.

First the line. Runs the range test of every task of sets a, b and c and of the random tasks in variants.json, and fits

    log10(best LR) = anchor + constant + sum of weight * feature

by a robust ridge regression on the middles of the tasks' basins (the LRs whose regret is below 0.1), for curves with a gain
ratio and for curves without; then a second line to the regret of tasks left out, and from which value of it on a suggestion is called
noisy. Prints how this does on tasks it has not seen: fitted on some sets and judged on another, and leaving out
one task at a time. The set "judge" is not read. Then what depends on the plan, on the tasks of benchmarks/lifelike to fit on and those
of sets a, b and c: see fit_plans.py.
`--write` puts all of it into lr_search/curves/calibration.json.

Curves are kept in a file (`--curves`), to fit again without running them again; those of benchmarks/lifelike in benchmarks/data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fit_plans import cases, planned
from judge_tasks import curves_path, of_sets, of_side, with_curves
from tasks import TASKS
from tasks.variants import variant
from transfer_older import older_truths
from truth import drops_of, truth
from variants import PATH as VARIANTS

from lr_search import LRCurve
from lr_search.curves.calibrated import FEATURES, FittedLine, anchor

TARGET = Path(__file__).parents[1] / "lr_search" / "curves" / "calibration.json"
USED = {
    "gain": [
        "room", "fall", "weight_size", "momentum", "fading", "adaptive_update", "plain_update", "overshoot",
    ],
    "loss": ["lowest", "flat", "scaling", "momentum", "fading"],
}  # fmt: skip
DOUBTS = {
    "gain": ["lowest", "from_zero", "momentum", "overshoot", "edge", "fall"],
    "loss": ["lowest", "room", "scaling", "momentum", "fading"],
}
FALSE_OK = 0.02  # the share of curves, among all, that may be called ok and have a regret above 0.2
MOST_REGRET = 0.5  # a larger one counts as this
SEEDS, VARIANT_SEEDS = 5, 2
FITTED_SETS = ("a", "b", "c")  # of the older tasks
RIDGE = 0.01
VARIANT_SHARE = 0.3  # of what a task of a, b or c counts: the truth of a variant is one seed's
HUBER_DECADES = 0.5  # beyond it an error counts in proportion only
BASIN = 0.1  # regret


@dataclass(frozen=True)
class Example:
    """A task as the regression sees it.

    Args:
        name: of the task.
        set: of the task.
        truth: log10 of LRs and the regrets of these, (lrs,) each.
        anchors: (seeds,) log10.
        features: (seeds, 1 + features) with a column of ones.
        doubts: the same, of the features that tell what the answer may lose.
        flat: (seeds,) whether no descent stands out: such a suggestion is not called ok.
        target: log10 of the middle of the basin.
        best: log10 of the best LR.
    """

    name: str
    set: str
    truth: tuple[np.ndarray, np.ndarray]
    anchors: np.ndarray
    features: np.ndarray
    doubts: np.ndarray
    flat: np.ndarray
    target: float
    best: float


def measured() -> dict[str, dict[str, Any]]:
    """What is known of the tasks to fit on: name -> entry."""
    known = {name: entry for name, entry in truth().items() if entry["set"] != "judge"}
    return known | (json.loads(VARIANTS.read_text()) if VARIANTS.exists() else {})


def curves(path: Path) -> dict[str, list[LRCurve]]:
    """The range tests of these tasks, from the file or run anew: five seeds each, two of a random task."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name, entry in measured().items():
        if name not in kept:
            workload = TASKS[name].make() if name in TASKS else variant(entry["number"])[1]
            seeds = SEEDS if name in TASKS else VARIANT_SEEDS
            kept[name] = [workload.range_test(seed, extend=True).to_json() for seed in range(seeds)]
            path.write_text(json.dumps(kept))
            print(f"range tests of {name}", flush=True)
    return {name: [LRCurve.from_json(record) for record in kept[name]] for name in measured()}


def middle(places: np.ndarray, values: np.ndarray) -> float:
    """log10 of the middle of a task's basin."""
    fine = np.linspace(places[0], places[-1], 500)
    fit = np.interp(fine, places, values)
    best, inside = int(np.argmin(fit)), fit <= BASIN
    low = best - int(np.argmin(inside[best::-1])) if not inside[best::-1].all() else 0
    high = best + int(np.argmin(inside[best:])) if not inside[best:].all() else len(fine) - 1
    return float(fine[low] + fine[high]) / 2


def examples(found: dict[str, list[LRCurve]], kind: str) -> list[Example]:
    """Every task, with the features of its curves."""
    made = []
    for name, entry in measured().items():
        drops = drops_of(entry)
        known = np.log10(entry["lrs"]), 1 - drops / drops.max()
        read = [replace(curve, gain_ratio=None, metrics={}) if kind == "loss" else curve for curve in found[name]]
        made.append(
            Example(
                name,
                entry["set"],
                known,
                np.array([anchor(curve) for curve in read]),
                table(read, USED[kind]),
                table(read, DOUBTS[kind]),
                np.array([FEATURES["flat"](curve) > 0 for curve in read]),
                middle(*known),
                float(known[0][int(np.argmin(known[1]))]),
            )
        )
    return made


def table(read: Sequence[LRCurve], names: Sequence[str]) -> np.ndarray:
    """A row a curve: 1, and its features."""
    return np.array([[1.0, *(FEATURES[name](curve) for name in names)] for curve in read])


def counts(train: Sequence[Example]) -> np.ndarray:
    """What each curve counts for: a task's curves together for one, those of a variant for less."""
    tasks = [VARIANT_SHARE if example.set == "variant" else 1.0 for example in train]
    return np.concatenate(
        [np.full(len(e.anchors), task / len(e.anchors)) for e, task in zip(train, tasks, strict=True)]
    )


def solved(rows: np.ndarray, wanted: np.ndarray, shares: np.ndarray, ridge: float) -> np.ndarray:
    """Weighted least squares with a ridge on all but the constant."""
    penalty = ridge * np.eye(rows.shape[1])
    penalty[0, 0] = 0.0
    return np.linalg.solve(rows.T @ (rows * shares[:, None]) + penalty, rows.T @ (wanted * shares))


def fitted(train: Sequence[Example]) -> np.ndarray:
    """The weights, constant first: Huber's loss by reweighting."""
    rows = np.concatenate([example.features for example in train])
    wanted = np.concatenate([example.target - example.anchors for example in train])
    shares = counts(train)
    for _ in range(30):
        weights = solved(rows, wanted, shares, RIDGE * counts(train).sum())
        shares = counts(train) * np.minimum(1.0, HUBER_DECADES / np.maximum(np.abs(wanted - rows @ weights), 1e-9))
    return weights


def doubted(train: Sequence[Example], lost: np.ndarray) -> np.ndarray:
    """The weights of the second line, constant first."""
    rows = np.concatenate([example.doubts for example in train])
    return solved(rows, np.minimum(lost, MOST_REGRET), counts(train), RIDGE * counts(train).sum())


def judged(weights: np.ndarray, test: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    """The regret and the error in decades of every curve, (curves,) each."""
    found = [(example, example.anchors + example.features @ weights) for example in test]
    lost = [np.interp(places, *example.truth, right=1.0) for example, places in found]
    return np.concatenate(lost), np.concatenate([places - example.target for example, places in found])


def line(title: str, result: tuple[np.ndarray, np.ndarray]) -> str:
    """A row of the printed table."""
    lost, errors = result
    return (
        f"{title:<42} mean {lost.mean():.3f}   within 5% {np.mean(lost <= 0.05):4.0%}   above .2 {np.mean(lost > 0.2):4.0%}"
        f"   error {np.sqrt(np.mean(errors**2)):.2f} decades"
    )


def report(kind: str, made: Sequence[Example], per_task: bool) -> dict[str, Any]:
    """Print how well the lines do on tasks they have not seen. Returns: what is written."""
    sets = {name: [example for example in made if example.set == name] for name in ("a", "b", "c", "variant")}
    print(f"\n{kind}: {len(made)} tasks")
    for test in ("a", "b", "c"):
        others = [example for example in made if example.set not in (test, "variant")]
        print(line(f"judged on {test}, fitted on the other two", judged(fitted(others), sets[test])))
        others = [example for example in made if example.set != test]
        print(line(f"judged on {test}, fitted on all others", judged(fitted(others), sets[test])))
    parts = [judged(fitted([other for other in made if other is not one]), [one]) for one in made]
    lost, errors = (np.concatenate(part) for part in zip(*parts, strict=True))
    print(line("one task left out", (lost, errors)))
    named = np.concatenate([np.full(len(example.anchors), example.set != "variant") for example in made])
    print(line("  of these, sets a, b and c", (lost[named], errors[named])))
    weights = fitted(made)
    print(line("on the tasks fitted", judged(weights, made)))
    if per_task:
        for example, (regret, error) in sorted(zip(made, parts, strict=True), key=lambda pair: -pair[1][0].mean()):
            numbers = " ".join(f"{value:+.2f}" for value in example.features[0, 1:])
            print(f"  {example.name:<34} {regret.mean():.3f}  error {error.mean():+.2f}  {numbers}")
    return {
        "offset": named_line(USED[kind], weights),
        "regret": named_line(DOUBTS[kind], doubted(made, lost)),
        "noisy": noisy_from(made, lost),
    }


def noisy_from(made: Sequence[Example], lost: np.ndarray) -> float:
    """The expected regret from which on a suggestion is called noisy; prints what that does."""
    starts = np.cumsum([0, *(len(example.anchors) for example in made)])
    parts = []
    for i, one in enumerate(made):
        others = np.concatenate([lost[: starts[i]], lost[starts[i + 1] :]])
        parts.append(one.doubts @ doubted([*made[:i], *made[i + 1 :]], others))
    expected, flat = np.concatenate(parts), np.concatenate([example.flat for example in made])
    share = counts(made) / counts(made).sum()
    bad = lost > 0.2
    levels = np.sort(expected)[::-1]
    noisy = next((level for level in levels if share @ (~flat & (expected <= level) & bad) <= FALSE_OK), levels[-1])
    ok = ~flat & (expected <= noisy)
    print(
        f"noisy above {noisy:.3f}: {share @ ok:.0%} ok, of mean regret {np.average(lost[ok], weights=share[ok]):.3f} (the others: "
        f"{np.average(lost[~ok], weights=share[~ok]):.3f}); ok and above .2: {share @ (ok & bad):.1%}"
    )
    return round(float(noisy), 4)


def planned_for(kind: str, record: dict[str, Any], jobs: int) -> dict[str, Any]:
    """What depends on the plan, for a line."""
    line = FittedLine(**record["offset"])
    judged, old = of_side("fit", None, jobs), of_sets(FITTED_SETS, None)
    found = with_curves(judged, curves_path("fit"), SEEDS, jobs, fresh=False)
    found += with_curves(old, curves_path("old"), SEEDS, jobs, fresh=False)
    bare = {"gain_ratio": None, "metrics": {}}
    read = [[replace(curve, **bare) if kind == "loss" else curve for curve in of_task] for of_task in found]
    print(f"\n{kind}, by schedule")
    pairs = [(one.truths, of_task) for one, of_task in zip([*judged, *old], read, strict=True)]
    truths = older_truths()
    long = [(truths.get(one.name, []), of_task) for one, of_task in zip(old, read[len(judged) :], strict=True)]
    fitted = planned(*(cases(some, lambda curve: anchor(curve) + line(curve)) for some in (pairs, long)))
    print(json.dumps(fitted))
    return fitted


def named_line(names: Sequence[str], weights: np.ndarray) -> dict[str, Any]:
    """A line as calibration.json has it."""
    rounded = [round(float(weight), 4) for weight in weights]
    print("  ".join(f"{name} {weight:+.3f}" for name, weight in zip(["constant", *names], rounded, strict=True)))
    return {"constant": rounded[0], "weights": dict(zip(names, rounded[1:], strict=True))}


def main() -> None:
    """Fit, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, default=Path("fit_curves.json"))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--plans", action="store_true", help="only what depends on the plan; the lines stay")
    parser.add_argument("--per-task", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    record: dict[str, Any] = json.loads(TARGET.read_text()) if given.plans else {}
    if not given.plans:
        found = curves(given.curves)
        record = {kind: report(kind, examples(found, kind), given.per_task) for kind in USED}
    for kind in USED:
        record[kind]["planned"] = planned_for(kind, record[kind], given.jobs)
    if given.write:
        TARGET.write_text(json.dumps(record, indent=2) + "\n")
        print(f"\nwritten to {TARGET}")


if __name__ == "__main__":
    main()
