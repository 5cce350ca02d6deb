"""transfer(): the LR of a long training for a part of what one costs -> Transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from lr_search.comparison.compare import compare
from lr_search.curves.prior import LRPrior
from lr_search.errors import LRSearchError, require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.ramp.settings import LEAST_RAMP_STEPS, USUAL_RAMP_STEPS
from lr_search.samplers.strategies import PilotResult
from lr_search.scaling.posterior import TransferPosterior
from lr_search.scaling.transfer_remarks import in_words
from lr_search.scaling.transfer_strategy import by_pilots, posterior_of, prior_of
from lr_search.storage.open import StorageLike
from lr_search.storage.records import StudyRecord, charged_before
from lr_search.workloads.workload import Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lr_search.executors.executor import Executor

RAMPS_A_TRAINING = 32  # a range test takes no larger part of a training, where that is 20 steps or more
_TABLE = ["num_steps", "lr", "objective", "outcome", "steps"]


@checked
@dataclass(frozen=True, eq=False)
class Transfer:
    """The LR of a full training, as pilots tell it.

    Args:
        lr: the (peak) LR to train with: that of least expected regret.
        log10_std: how far off the best may lie, in decades.
        interval: LRs between which the best lies with 80%.
        exponent: the best LR is taken to move as length^exponent under this schedule.
        schedule: its name.
        optimizer: its name.
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
        return " ".join([told, *self.remarks])

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


@checked
def transfer(
    workload: Workload,
    *,
    schedule: str,
    cost: float = 0.3,
    seed: Seed = 0,
    lr_range: tuple[float, float] | None = None,
    range_test: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    storage: StorageLike = None,
    name: str = "transfer",
    fresh: bool = False,
    progress: bool = True,
) -> Transfer:
    """Find the LR of a long training by pilots: whole, shorter trainings under the same schedule, laid out for their length.

    A range test comes first, then three pilots of a sixteenth of the length around what it suggests; where the cost pays for them, up to
    three of a quarter. It is `compare` with the strategy `transfer` alone: with a storage it goes on where it was killed, and a larger
    cost adds pilots.

    Args:
        workload: what is trained, as long as it is to be trained.
        schedule: the name of the one that it is to be trained under.
        cost: what may be spent, in full trainings, at most 1.
        seed: of weights and batches.
        lr_range: (low, high) of the search; None: by the optimizer's kind, as in `compare`.
        range_test: how the range test is run, as in `compare`; default: in a 32nd of the training's steps, from 20 to 100.
        executor: runs the pilots; default: one after the other in this process.
        storage: a database URL, an Optuna storage, or None to keep nothing.
        name: in the storage.
        fresh: delete what the storage holds under that name, and start over.
        progress: say the plan and how far it has come.

    Raises:
        InvalidInputError: an argument breaks a rule: the cost does not pay for the range test and three pilots (the message says what does),
            the training is too short for pilots, or the schedule cannot be laid out for another length.
        WorkloadError, FingerprintError, StorageError, TrialsFailedError: see `compare`.

    >>> import lr_search as lrs
    >>> from lr_search.testing.line_workload import line_workload
    >>> found = lrs.transfer(line_workload(num_steps=3000), schedule="cosine", cost=0.25, progress=False)
    >>> len(found.table), found.steps < 750, 0.01 < found.lr < 1
    (3, True, True)
    """
    rule, remedy = (
        "cost must be above 0 and at most 1 full training",
        "For more, compare(workload, strategies=['transfer'], budget=...): what is left then goes into full trainings.",
    )
    require(0 < cost <= 1, rule, remedy, cost=cost)
    ramp = {"num_steps": max(LEAST_RAMP_STEPS, min(USUAL_RAMP_STEPS, workload.num_steps // RAMPS_A_TRAINING))}
    ramp |= range_test or {}
    found = compare(
        workload, strategies=[by_pilots], schedules=[schedule], lr_range=lr_range, range_test=ramp, budget=cost, seeds=[seed], snapshots=0,
        executor=executor, storage=storage, name=name, fresh=fresh, progress=progress,
    )  # fmt: skip
    told = [each for each in transfers_of(found.records) if (each.schedule, each.seed) == (schedule, seed)]
    if not told:
        raise LRSearchError(
            "transfer() needs a pilot that has ended, but none has. Call it again with the same storage to go on."
        )
    return told[0]


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
        seed=plan["seed"],
        num_steps=plan["target_steps"],
        steps=sum(trial.steps for study in spent.values() for trial in study.trials),
        remarks=in_words(found.remarks),
        table=_table(studies),
        posterior=found,
        range_test=prior,
    )


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
