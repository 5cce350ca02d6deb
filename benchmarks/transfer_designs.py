"""What a design of pilots would have come to, looked up: pilots that were trained, judged by the truth of their task.

A design is how many pilots of which lengths. Pilots at LRs between those that were trained are interpolated, as the judge does it
(judge_regrets.py). The pilots of the lifelike tasks are in transfer_fit.json, where lengths of 300 and 1,000 steps are those of the truth
itself; those of the older ones are in transfer_older.json, with their truth.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from judge_regrets import RegretCurve, regret_curve, regret_curves
from lifelike import TASKS
from regret_truth import path_of
from transfer_older import LENGTH, data_of
from transfer_older import PATH as OLDER
from transfer_pilots import LONG, PATH, SEED

from lr_search import LRPrior
from lr_search.scaling.pilot_lrs import first_pilot_lrs, next_pilot_lr
from lr_search.scaling.posterior import Pilot, TransferPosterior, transfer_posterior
from lr_search.scaling.transfer_constants import TransferConstants

Design = tuple[
    tuple[int, int, int], ...
]  # T / steps of a pilot, how many, how many of these at once: the shortest first
PLAN_OF: dict[str, Design] = {
    "no pilots": (),
    "3 of T/32": ((32, 3, 2),),
    "3 of T/16": ((16, 3, 2),),
    "3 of T/16 at once": ((16, 3, 3),),
    "3 of T/16 in turn": ((16, 3, 1),),
    "3 of T/32, 1 of T/8": ((32, 3, 2), (8, 1, 1)),
    "3 of T/32, 2 of T/16": ((32, 3, 2), (16, 2, 2)),
    "2 of T/8": ((8, 2, 2),),
    "5 of T/16": ((16, 5, 2),),
    "3 of T/8": ((8, 3, 2),),
    "3 of T/16, 1 of T/4": ((16, 3, 2), (4, 1, 1)),
    "3 of T/16, 3 of T/8": ((16, 3, 2), (8, 3, 2)),
    "3 of T/16, 2 of T/4": ((16, 3, 2), (4, 2, 2)),
    "3 of T/4": ((4, 3, 2),),
    "3 of T/32, 3 of T/4": ((32, 3, 2), (4, 3, 2)),
    "3 of T/16, 5 of T/8": ((16, 3, 2), (8, 5, 2)),
    "3 of T/16, 2 of T/3": ((16, 3, 2), (3, 2, 2)),
    "3 of T/16, 3 of T/4": ((16, 3, 2), (4, 3, 2)),
}
RANGE_TEST = 133  # steps that a range test of 100 is charged


@dataclass(frozen=True)
class TransferCase:
    """One long training: a task under a schedule.

    Args:
        truth: what every LR loses there.
        prior: the range test's.
        rungs: the pilots by their number of steps, each as the curve of its only seed.
        family: of the task.
        steps_per_epoch: of the task.
        older: whether it is one of the older tasks.
    """

    truth: RegretCurve
    prior: LRPrior
    rungs: dict[int, RegretCurve]
    family: str
    steps_per_epoch: float
    older: bool = False

    @property
    def untrained(self) -> float:
        """The objective before the first step."""
        return float(self.truth.initial[SEED])

    def steps(self, divisor: int) -> int:
        """The length of the pilots that is nearest to a share of the training."""
        wanted = self.truth.num_steps / divisor
        return min(self.rungs, key=lambda steps: abs(np.log(steps / wanted)))

    def pilot(self, lr: float, steps: int) -> Pilot:
        """A pilot, looked up."""
        rung = self.rungs[steps]
        loss = rung.looked_up(rung.losses[:, SEED], float(np.log10(lr)))
        return Pilot(lr, loss, steps, not np.isfinite(loss))


def transfer_cases() -> list[TransferCase]:
    """Every long training of the fit tasks whose pilots were trained."""
    truths: dict[str, Any] = json.loads(path_of("fit").read_text())
    found = []
    for name, entry in json.loads(PATH.read_text()).items():
        if "pilots" in entry:
            known = regret_curves(path_of("fit"), name, truths[name], "")
            for schedule, of_schedule in entry["pilots"].items():
                found += _cases(name, schedule, of_schedule, entry, known)
    return [case for case in found if case.truth.drops.max() > 0]


def _cases(
    name: str, schedule: str, pilots: dict[str, Any], entry: dict[str, Any], known: Sequence[RegretCurve]
) -> list[TransferCase]:
    mine = [truth for truth in known if truth.schedule == schedule]
    rungs = {int(length): _curve(name, schedule, length, of_lr, entry["initial"]) for length, of_lr in pilots.items()}
    rungs |= {truth.num_steps: truth for truth in mine}
    targets = {max(truth.num_steps for truth in mine): mine[-1]} if mine else {}
    if schedule in entry.get("long", {}):
        targets[LONG] = _curve(name, schedule, str(LONG), entry["long"][schedule], entry["initial"])
    return [
        TransferCase(
            truth,
            LRPrior.from_json(entry["priors"][f"{schedule} {steps}"]),
            {length: rung for length, rung in rungs.items() if length < steps},
            TASKS[name].family,
            entry["steps_per_epoch"],
        )
        for steps, truth in targets.items()
    ]


def older_cases() -> list[TransferCase]:
    """Likewise of the older tasks."""
    found = []
    for name, entry in json.loads(OLDER.read_text()).items():
        for schedule, lengths in entry.get("losses", {}).items():
            curves = {
                int(length): regret_curve(name, schedule, int(length), length, of_lr, entry["initial"])
                for length, of_lr in lengths.items()
            }
            prior = LRPrior.from_json(entry["priors"][f"{schedule} {LENGTH}"])
            rungs = {length: curve for length, curve in curves.items() if length < LENGTH}
            if all(curve.drops.max() > 0 for curve in curves.values()):
                found.append(
                    TransferCase(curves[LENGTH], prior, rungs, data_of(name), entry["steps_per_epoch"], older=True)
                )
    return found


def _curve(name: str, schedule: str, length: str, of_lr: dict[str, float | None], initial: float) -> RegretCurve:
    return regret_curve(name, schedule, int(length), length, {lr: [loss] for lr, loss in of_lr.items()}, [initial])


def cost(design: Design, num_steps: int) -> float:
    """What a design costs with its range test, in trainings."""
    return sum(count / divisor for divisor, count, _ in design) + RANGE_TEST / num_steps


def pilots_of(case: TransferCase, design: Design, constants: TransferConstants | None = None) -> list[Pilot]:
    """The pilots of a design. Args: constants: by which shorter pilots point; default: the package's."""
    found: list[Pilot] = []
    for divisor, count, at_once in design:
        steps, prior = case.steps(divisor), case.prior if not found else narrowed(case, answer(case, found, constants))
        length = {"num_steps": case.truth.num_steps, "pilot_steps": steps, "steps_per_epoch": case.steps_per_epoch}
        first = first_pilot_lrs(prior, schedule=case.truth.schedule, narrowed=bool(found) and at_once > 1, **length)
        for number in range(count):
            if number < at_once:
                lr = first[number]
            else:
                lr = next_pilot_lr(found, prior, schedule=case.truth.schedule, **length)
            found.append(case.pilot(lr, steps))
    return found


def narrowed(case: TransferCase, found: TransferPosterior) -> LRPrior:
    """The prior with its mode where the shorter pilots point."""
    return replace(case.prior, mode=found.lr)


def answer(
    case: TransferCase, pilots: Sequence[Pilot], constants: TransferConstants | None = None
) -> TransferPosterior:
    """What the library says after them."""
    return transfer_posterior(
        pilots,
        num_steps=case.truth.num_steps,
        schedule=case.truth.schedule,
        prior=case.prior,
        untrained=case.untrained,
        steps_per_epoch=case.steps_per_epoch,
        constants=constants,
    )
