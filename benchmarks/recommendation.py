"""How good the recommended LR is: `python benchmarks/recommendation.py [--sets a b judge]`, two minutes on one core.

A comparison of three seeds (of two, where a task was trained with three) is searched with the grid, random search and the range
test, together and each alone, at budgets 4 and 8; trainings are looked up in search_curves.json. Each rule reads one LR off the
trials of the comparison. Its regret is that of training at this LR with the seeds that the comparison did not see: 0 as good as the
best LR of a dense grid, 1 no better than not training. Widths were chosen on sets a and b. Writes recommendation.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from search_curves import GRID, kept, looked_up
from search_runs import Found, searched

from lr_search.results.candidates import candidates
from lr_search.storage.records import StudyRecord

PATH = Path(__file__).with_name("recommendation.json")
STRATEGIES = ("grid", "random", "range_test")
SETTINGS = {"all three": STRATEGIES} | {name: (name,) for name in STRATEGIES}
BUDGETS = (4, 8)
SEEDS = 3  # of a comparison
DRAWS = 10  # comparisons of a task in each setting
FINE = np.linspace(-5, 1, 10 * (len(GRID) - 1) + 1)  # decades
WIDTHS = (0.05, 0.1, 0.15, 0.25, 0.4)
LENGTHS = (0.5, 0.7, 1.0, 1.4)
GOOD, BAD = 0.05, 0.5
BASE = "lr_search"  # as the library does it
KEPT = "kernel 0.15"  # what the others are compared with

Trials = tuple[np.ndarray, np.ndarray]  # of one seed: decades, and losses no worse than at step 0
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # decades, losses, where to read it -> (n,)
Rule = Callable[[Sequence[Trials]], float]  # the decade of the recommended LR


def tried(seeds: Sequence[Trials]) -> np.ndarray:
    """The decades of all trials."""
    return np.unique(np.concatenate([places for places, _ in seeds]))


def dense(seeds: Sequence[Trials]) -> np.ndarray:
    """Every place between the lowest and highest that was tried."""
    at = tried(seeds)
    return np.unique(np.concatenate([at, np.linspace(at[0], at[-1], 301)]))


def kernel(width: float) -> Fit:
    """A Gaussian kernel over log LR."""

    def fit(places: np.ndarray, losses: np.ndarray, at: np.ndarray) -> np.ndarray:
        reach = (at[:, None] - places) / width
        weights = np.exp(-0.5 * (reach**2 - (reach**2).min(1, keepdims=True)))
        return np.asarray((weights * losses).sum(1) / weights.sum(1))

    return fit


def between(width: float) -> Fit:
    """The kernel at the LRs that this seed tried, and a straight line between them."""

    def fit(places: np.ndarray, losses: np.ndarray, at: np.ndarray) -> np.ndarray:
        own = np.unique(places)
        return np.interp(at, own, kernel(width)(places, losses, own))

    return fit


def convolved(width: float) -> Fit:
    """A straight line between the LRs that this seed tried, under a Gaussian kernel."""

    def fit(places: np.ndarray, losses: np.ndarray, at: np.ndarray) -> np.ndarray:
        own, which = np.unique(places, return_inverse=True)
        line = np.arange(at[0] - 3 * width, at[-1] + 3 * width, 0.02)
        return kernel(width)(line, np.interp(line, own, np.bincount(which, losses) / np.bincount(which)), at)

    return fit


def local(degree: int, width: float) -> Fit:
    """LOESS: a polynomial under a Gaussian kernel that reaches the degree + 3 nearest trials at least, with a small ridge."""

    def fit(places: np.ndarray, losses: np.ndarray, at: np.ndarray) -> np.ndarray:
        found = []
        for place in at:
            away = places - place
            scale = max(width, np.sort(np.abs(away))[min(degree + 3, len(away)) - 1])
            powers, weights = np.vander(away / scale, degree + 1, increasing=True), np.exp(-0.5 * (away / scale) ** 2)
            ridge = 1e-3 * weights.sum() * np.diag([0.0] + [1.0] * degree)
            found.append(np.linalg.solve((powers.T * weights) @ powers + ridge, (powers.T * weights) @ losses)[0])
        return np.array(found)

    return fit


def averaged(fit: Fit, where: Callable[[Sequence[Trials]], np.ndarray] = tried) -> Rule:
    """Where the mean over seeds of each seed's fit is lowest."""

    def rule(seeds: Sequence[Trials]) -> float:
        at = where(seeds)
        return float(at[np.mean([fit(*trials, at) for trials in seeds], axis=0).argmin()])

    return rule


def pooled(fit: Fit, where: Callable[[Sequence[Trials]], np.ndarray] = tried) -> Rule:
    """Where one fit to the trials of all seeds is lowest, each seed's offset from it removed."""

    def rule(seeds: Sequence[Trials]) -> float:
        places, losses = (np.concatenate(each) for each in zip(*seeds, strict=True))
        seed, offset = np.repeat(np.arange(len(seeds)), [len(each) for each, _ in seeds]), np.zeros(len(seeds))
        for _ in range(3):
            residual = losses - fit(places, losses - offset[seed], places)
            offset = np.bincount(seed, residual) / np.bincount(seed)
        at = where(seeds)
        return float(at[fit(places, losses - offset[seed], at).argmin()])

    return rule


def process(length: float, where: Callable[[Sequence[Trials]], np.ndarray] = dense) -> Rule:
    """Where the mean of a Gaussian process over the trials of all seeds is lowest: Matern 5/2, 5% of the variance noise."""

    def covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        away = np.sqrt(5) * np.abs(one[:, None] - other) / length
        return np.asarray((1 + away + away**2 / 3) * np.exp(-away))

    def rule(seeds: Sequence[Trials]) -> float:
        places, losses = (np.concatenate(each) for each in zip(*seeds, strict=True))
        known = covariance(places, places) + 0.05 * np.eye(len(places))
        at, scaled = where(seeds), (losses - losses.mean()) / (losses.std() or 1.0)
        return float(at[(covariance(at, places) @ np.linalg.solve(known, scaled)).argmin()])

    return rule


def of_transformed(change: Callable[[np.ndarray], np.ndarray], rule: Rule) -> Rule:
    """The rule on the losses of all trials changed."""

    def changed(seeds: Sequence[Trials]) -> float:
        losses = change(np.concatenate([each for _, each in seeds]))
        cut = np.split(losses, np.cumsum([len(each) for _, each in seeds])[:-1])
        return rule([(places, part) for (places, _), part in zip(seeds, cut, strict=True)])

    return changed


def root(losses: np.ndarray) -> np.ndarray:
    """Of how far above the best: what differs among the good LRs counts for more than among the bad."""
    return np.asarray(np.sqrt(losses - losses.min()))


def lucky(seeds: Sequence[Trials]) -> float:
    """The LR of the best trial of any seed."""
    return float(min((loss, place) for trials in seeds for place, loss in zip(*trials, strict=True))[1])


RULES: dict[str, Rule] = {
    "best trial of any seed": lucky,
    "line between trials": averaged(between(1e-3)),
    **{f"kernel {width}": averaged(kernel(width)) for width in WIDTHS},
    "kernel 0.15, dense": averaged(kernel(0.15), dense),
    **{f"kernel {width}, line between": averaged(between(width)) for width in WIDTHS},
    **{f"line under kernel {width}, dense": averaged(convolved(width), dense) for width in WIDTHS},
    "pooled kernel 0.15": pooled(kernel(0.15)),
    "pooled local linear 0.25": pooled(local(1, 0.25)),
    "pooled local quadratic 0.25": pooled(local(2, 0.25)),
    "process 1.0, dense": process(1.0),
    "process 1.0 of roots": of_transformed(root, process(1.0, tried)),
    **{f"process {length} of roots, dense": of_transformed(root, process(length)) for length in LENGTHS},
    "kernel 0.15 of roots": of_transformed(root, averaged(kernel(0.15))),
    "kernel 0.15 of ranks": of_transformed(stats.rankdata, averaged(kernel(0.15))),
}
FAMILIES: dict[str, tuple[float, ...]] = {
    "kernel {}": WIDTHS,
    "kernel {}, line between": WIDTHS,
    "line under kernel {}, dense": WIDTHS,
    "process {} of roots, dense": LENGTHS,
}


def trials_of(studies: Sequence[StudyRecord]) -> list[Trials]:
    """Each seed's complete trials."""
    found: dict[int, list[tuple[float, float]]] = {}
    for study in studies:
        done = [(np.log10(t.lr), study.clipped(t.value)) for t in study.trials if t.state == "COMPLETE"]
        found.setdefault(study.plan["seed"], []).extend(done)
    return [(np.array(each)[:, 0], np.array(each)[:, 1]) for each in found.values() if each]


def comparisons(seeds: int) -> list[tuple[int, ...]]:
    """Which seeds are compared: at most `DRAWS` of the ways to draw them."""
    ways = list(combinations(range(seeds), min(SEEDS, seeds - 1)))
    return [ways[i] for i in np.random.default_rng(0).permutation(len(ways))[:DRAWS]]


@cache
def drop(task: str, seed: int, place: float) -> float:
    """How far the loss falls at that decade; 0 where it rises or diverges."""
    losses = looked_up(task, seed, 10**place)
    return float(max(0.0, losses[0] - losses[-1])) if np.isfinite(losses[-1]) else 0.0


@cache
def best_drop(task: str, seeds: tuple[int, ...]) -> float:
    """Of the mean over these seeds."""
    return float(max(np.mean([drop(task, seed, float(place)) for seed in seeds]) for place in FINE))


def regret(task: str, seeds: tuple[int, ...], place: float) -> float:
    """1 - drop / best drop, of means over these seeds."""
    return float(np.clip(1 - np.mean([drop(task, seed, place) for seed in seeds]) / best_drop(task, seeds), 0, 1))


def regrets_of_task(task: str) -> dict[str, dict[str, list[float]]]:
    """Rule -> setting -> the regret of every comparison."""
    firsts: Found = {}
    seeds = len(kept()[task]["losses"])
    found: dict[str, dict[str, list[float]]] = {}
    for budget in BUDGETS:
        records = searched(task, STRATEGIES, budget, seeds, firsts)
        for name, strategies in SETTINGS.items():
            for drawn in comparisons(seeds):
                studies = [r for r in records if r.plan["seed"] in drawn and r.plan["strategy"] in strategies]
                others = tuple(seed for seed in range(seeds) if seed not in drawn)
                for rule, place in recommended(studies).items():
                    lost = 1.0 if place is None else regret(task, others, place)
                    found.setdefault(rule, {}).setdefault(f"{name} at {budget}", []).append(lost)
    return found


def recommended(studies: Sequence[StudyRecord]) -> dict[str, float | None]:
    """Rule -> the decade of the LR that it reads off; None where every trial diverged."""
    own = candidates(studies)
    if not own:
        return dict.fromkeys([BASE, *RULES])
    trials = trials_of(studies)
    return {BASE: float(np.log10(own[0].lr))} | {name: rule(trials) for name, rule in RULES.items()}


def row(found: dict[str, Any], rule: str) -> dict[str, Any]:
    """What the table says of a rule: all its comparisons weigh the same, the interval is over tasks and paired with `KEPT`."""
    lost = {task: np.array(list(entry[rule].values())) for task, entry in found.items()}
    every = np.concatenate([each.ravel() for each in lost.values()])
    means = np.array([each.mean() for each in lost.values()])
    apart = means - np.array([np.mean(list(entry[KEPT].values())) for entry in found.values()])
    half = float(stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart)))
    return {
        "mean": float(means.mean()),
        "within 5%": float((every <= GOOD).mean()),
        "above 0.5": float((every > BAD).mean()),
        "difference": [float(apart.mean()), float(apart.mean() - half), float(apart.mean() + half)],
        "settings": {
            key: float(np.mean([e[rule][key] for e in found.values()])) for key in next(iter(found.values()))[rule]
        },
    }


def with_widths_left_out(found: dict[str, Any]) -> dict[str, Any]:
    """Adds each family with, for each task, the width that is best on the others."""

    def lost(task: str, rule: str) -> float:
        return float(np.mean(list(found[task][rule].values())))

    added = {task: dict(entry) for task, entry in found.items()}
    for task in found:
        for family, widths in FAMILIES.items():
            rules = [family.format(width) for width in widths]
            best = min(rules, key=lambda rule: sum(lost(other, rule) for other in found if other != task))
            added[task][family.format("left out")] = found[task][best]
    return added


def text(table: dict[str, dict[str, Any]]) -> str:
    """A line a rule, best first."""
    head = f"{'rule':<36}{'mean regret':>12}{'within 5%':>11}{'above 0.5':>11}   less {KEPT} (95% interval over tasks)"
    lines = [head]
    for name, cells in sorted(table.items(), key=lambda item: float(item[1]["mean"])):
        apart = "{:+.4f} ({:+.4f} to {:+.4f})".format(*cells["difference"])
        lines.append(f"{name:<36}{cells['mean']:12.4f}{cells['within 5%']:11.1%}{cells['above 0.5']:11.1%}   {apart}")
    return "\n".join(lines)


def main() -> None:
    """Compare, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["a", "b", "judge"])
    parser.add_argument("--json", type=Path, default=PATH)
    given = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {}
    for half, sets in {"fitting": {"a", "b"}, "judge": {"judge"}}.items():
        tasks = [task for task, entry in kept().items() if entry["set"] in sets & set(given.sets)]
        if not tasks:
            continue
        found = {task: regrets_of_task(task) for task in tasks}
        found = with_widths_left_out(found) if half == "fitting" else found
        told[half] = {"tasks": tasks, "rules": {rule: row(found, rule) for rule in found[tasks[0]]}}
        print(f"{half}: {len(tasks)} tasks\n{text(told[half]['rules'])}\n")
    given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
