"""What pilots tell of a long training -> Transfer. Read without torch, as all of a report is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lr_search.curves.prior import LRPrior
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.direction import Direction
from lr_search.kinds.ranges import Seed
from lr_search.samplers.strategies import PilotResult
from lr_search.scaling.posterior import TransferPosterior
from lr_search.scaling.transfer_remarks import in_words
from lr_search.scaling.transfer_strategy import RUNGS, by_pilots, posterior_of, prior_of
from lr_search.storage.records import StudyRecord, charged_before

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TABLE = ["num_steps", "lr", "objective", "outcome", "steps"]


@checked
@dataclass(frozen=True, eq=False)
class Transfer:
    """The LR of a full training, as pilots tell it.

    Args:
        lr: the (peak) LR to train with: that of least expected regret.
        log10_std: how far off the middle of the best LRs may lie, in decades.
        interval: LRs between which the best of a few trainings lies with 80%.
        exponent: the best LR is taken to move as length^exponent under this schedule.
        schedule: its name.
        optimizer: its name.
        direction: whether its objective is minimized or maximized.
        seed: of the pilots.
        num_steps: of the full training.
        steps: what finding out took, in optimizer steps, the range test included.
        remarks: what makes it doubtful, a sentence each.
        table: the pilots in the order in which they were planned: num_steps, lr, objective (at the end; inf or -inf where it diverged),
            outcome, and the steps that it took.
        posterior: what is believed of every LR.
        range_test: the prior before the pilots.
    """

    lr: float
    log10_std: float
    interval: tuple[float, float]
    exponent: float
    schedule: str
    optimizer: str
    direction: Direction
    seed: Seed
    num_steps: int
    steps: int
    remarks: tuple[str, ...]
    table: pd.DataFrame = field(repr=False)
    posterior: TransferPosterior = field(repr=False)
    range_test: LRPrior = field(repr=False)

    def __post_init__(self) -> None:
        require(self.num_steps >= 1, "num_steps must be a whole number, at least 1", num_steps=self.num_steps)

    def __str__(self) -> str:
        """In one sentence, and one for each doubt."""
        low, high = self.interval
        lengths = " and ".join(f"{count} of {length:,}" for length, count in self._lengths())
        told = (
            f"{self.schedule} with {self.optimizer} in {self.num_steps:,} steps: LR {self.lr:.3g} (80% between {low:.2g} and {high:.2g}), "
            f"from pilots, {lengths} steps; {self.steps:,} steps in all, {self.cost:.2g} of a full training."
        )
        return " ".join([told, *self._moved(), *self.remarks])

    def _moved(self) -> list[str]:
        """Why the LR is not that of the best pilot, which stands in the table."""
        if self.best_pilot is None:
            return []
        length, best = self.best_pilot
        how = f"the best LR is taken to go as length^{self.exponent:.2f}"
        why = (
            "too high costs more than too low" if self.lr < best else "the range test and the other pilots point higher"
        )
        return [f"The best of the pilots of {length:,} steps had LR {best:.3g}; {how}, and {why}."]

    @property
    def best_pilot(self) -> tuple[int, float] | None:
        """Steps and LR of the best of the longest pilots; None where all of these diverged, or learned nothing."""
        longest = self.table[self.table["num_steps"] == self.table["num_steps"].max()]
        good = longest[np.isfinite(longest["objective"].to_numpy(dtype=float))]
        if good.empty or "learns_nothing" in self.posterior.remarks:
            return None
        objective = good["objective"].to_numpy(dtype=float)
        best = objective.argmin() if self.direction == "minimize" else objective.argmax()
        return int(good["num_steps"].iloc[int(best)]), float(good["lr"].iloc[int(best)])

    @property
    def cost(self) -> float:
        """What finding out took, in full trainings."""
        return self.steps / self.num_steps

    def _lengths(self) -> list[tuple[int, int]]:
        counts = self.table["num_steps"].value_counts()
        return [(int(length), int(counts[length])) for length in sorted(counts.index)]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and texts, for other programs."""
        plain = ("schedule", "optimizer", "seed", "num_steps", "lr", "log10_std", "exponent", "steps")
        return {
            **{name: getattr(self, name) for name in plain},
            "interval": list(self.interval),
            "remarks": list(self.remarks),
        }

    def to_prior(self) -> LRPrior:
        """A prior for what budget is left: `lrs.samplers.RangeTestSampler(transfer.to_prior())`."""
        return prior_of(self.posterior, self.range_test)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the pilots, what is expected at their lengths and at the full one, and the interval there; needs no display.

        Args:
            ax: where; default: a new figure.

        Returns:
            The Axes; `transfer.plot().figure.savefig(path)` saves the picture.
        """
        from lr_search.report.plots.transfer_plot import plot_transfer

        return plot_transfer(self, ax)


def transfers_of(records: Sequence[StudyRecord]) -> list[Transfer]:
    """What the pilots of a comparison tell, for each strategy, schedule, optimizer and seed that has some.

    Args:
        records: the studies of the comparison.
    """
    groups: dict[tuple[Any, ...], list[StudyRecord]] = {}
    for study in records:
        if study.kind == "pilot" and any(trial.state == "COMPLETE" for trial in study.trials):
            groups.setdefault(study.search_key, []).append(study)
    before = charged_before(records)
    rungs = [sorted(studies, key=lambda study: int(study.plan["num_steps"])) for studies in groups.values()]
    return [_transfer_of(studies, before.get(studies[-1].name, [])) for studies in rungs]


def transfer_lines(records: Sequence[StudyRecord]) -> list[str]:
    """Each of `transfers_of` in words, with its seed where there are several."""
    told = transfers_of(records)
    several = len({each.seed for each in told}) > 1
    return [f"Seed {each.seed}: {each}" if several else str(each) for each in told]


def _transfer_of(studies: Sequence[StudyRecord], before: Sequence[StudyRecord]) -> Transfer:
    """Args: studies: of the pilots, rung by rung; before: what the last one waited for."""
    plan, prior = studies[0].plan, studies[0].prior
    assert prior is not None
    length = {"num_steps": plan["target_steps"], "steps_per_epoch": plan["steps_per_epoch"]}
    found = posterior_of(_told(studies), prior, schedule=plan["by_name"], **length)
    spent = {id(study): study for study in (*before, *studies)}
    return Transfer(
        lr=found.lr,
        log10_std=found.log10_std,
        interval=found.interval,
        exponent=found.exponent,
        schedule=plan["schedule"],
        optimizer=plan["optimizer"],
        direction=plan["direction"],
        seed=plan["seed"],
        num_steps=plan["target_steps"],
        steps=sum(trial.steps for study in spent.values() for trial in study.trials),
        remarks=(*in_words(found.remarks), *_unfinished(studies)),
        table=_table(studies),
        posterior=found,
        range_test=prior,
    )


def _unfinished(studies: Sequence[StudyRecord]) -> list[str]:
    """A sentence for each length that has fewer pilots than the strategy begins with: it was interrupted. Args: studies: as above."""
    if studies[0].plan["strategy"] != by_pilots.name:
        return []
    told = []
    for study, rung in zip(studies, RUNGS, strict=False):
        least = rung.pilots if rung is RUNGS[0] else rung.independent
        ended = sum(trial.state in ("COMPLETE", "FAIL") for trial in study.trials)
        if ended < least:
            length = study.plan["num_steps"]
            told.append(f"Only {ended} of {least} pilots of {length:,} steps have ended: go on with the same storage.")
    return told


def _told(studies: Sequence[StudyRecord]) -> list[PilotResult]:
    """The pilots that came to an end, as a sampler was told of them."""
    sign = 1.0 if studies[0].plan["direction"] == "minimize" else -1.0
    return [
        PilotResult(trial.lr, sign * trial.value, study.plan["num_steps"], sign * study.worst)
        for study in studies
        for trial in study.trials
        if trial.state == "COMPLETE"
    ]


def _table(studies: Sequence[StudyRecord]) -> pd.DataFrame:
    rows = [
        (study.plan["num_steps"], trial.lr, trial.value, trial.outcome.get("ended"), trial.steps)
        for study in studies
        for trial in study.trials
    ]
    return pd.DataFrame(rows, columns=_TABLE)
