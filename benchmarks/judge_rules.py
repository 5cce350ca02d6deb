"""Rules as the judge asks them: (curve, schedule, num_steps) -> an LR and, where the rule has one, its status."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from judge_regrets import RegretCurve
from judge_runs import Run, run_at

from lr_search import LRCurve
from lr_search.curves.calibrated import unplanned
from lr_search.curves.rules import SIMPLE_RULES

Rule = Callable[[LRCurve, str, int], tuple[float, str | None]]
PRESENT = "present rule"
BEFORE = "without the plan"  # as the rule was before it knew of schedules
CONSTANTS = (1e-1, 1e-2, 1e-3, 1e-4)
PEERS = Path(__file__).with_name("peers.json")


def present(curve: LRCurve, schedule: str, num_steps: int) -> tuple[float, str | None]:
    """What lr_search suggests for that training."""
    found = curve.suggest(schedule=schedule, num_steps=num_steps)
    return found.lr, found.status


def before(curve: LRCurve, schedule: str, num_steps: int) -> tuple[float, str | None]:
    """Where the default rule's line points, whatever the schedule and length."""
    found = curve.suggest()
    if found.status == "diverged_at_start":
        return found.lr, found.status
    return float(np.clip(10 ** unplanned(curve), curve.first_lr / 10, 10 * curve.lr[-1])), found.status


def named(name: str) -> Rule:
    """A rule of lr_search by its name."""

    def rule(curve: LRCurve, schedule: str, num_steps: int) -> tuple[float, str | None]:
        return curve.suggest(name).lr, None

    return rule


def always(lr: float) -> Rule:
    """No finder at all."""
    return lambda curve, schedule, num_steps: (lr, None)


RULES: dict[str, Rule] = {
    PRESENT: present,
    BEFORE: before,
    **{name: named(name) for name in ("valley", *(name for name in SIMPLE_RULES if name != "valley"))},
    **{f"always {lr:.0e}".replace("e-0", "e-"): always(lr) for lr in CONSTANTS},
}


def suggested(curve: LRCurve, truth: RegretCurve, seed: int) -> list[Run]:
    """What every rule that can read the curve loses."""
    runs = []
    for name, rule in RULES.items():
        if name != "gain_ratio" or curve.gain_ratio is not None:
            lr, status = rule(curve, truth.schedule, truth.num_steps)
            runs.append(run_at(truth, name, seed, float(np.log10(lr)), status))
    return runs + peers_suggested(truth, seed)


def peers_suggested(truth: RegretCurve, seed: int) -> list[Run]:
    """What fastai's own finder loses, where it was asked: `python benchmarks/suggestions.py` does, of its tasks."""
    asked = peers().get(truth.task, {}).get("fastai valley", [])
    if seed >= len(asked):
        return []
    lr = asked[seed][0]
    return [run_at(truth, "fastai valley", seed, None if lr is None else float(np.log10(lr)))]


@cache
def peers() -> dict[str, dict[str, list[tuple[float | None, int]]]]:
    """Task -> row -> the LR and the steps of each seed."""
    found: dict[str, dict[str, list[tuple[float | None, int]]]] = json.loads(PEERS.read_text())["runs"]
    return found
