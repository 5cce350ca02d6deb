"""transfer(): the LR of a long training for a part of what one costs -> Transfer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lr_search.comparison.compare import compare
from lr_search.comparison.question import optimizer_name
from lr_search.errors import LRSearchError, require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed
from lr_search.ramp.settings import LEAST_RAMP_STEPS, USUAL_RAMP_STEPS
from lr_search.scaling.told import Transfer, transfers_of
from lr_search.scaling.transfer_strategy import by_pilots
from lr_search.storage.open import StorageLike
from lr_search.workloads.trainable import Trainable, require_workload_for
from lr_search.workloads.workload import Workload

if TYPE_CHECKING:
    from lr_search.executors.executor import Executor

_NAMED = "See lr-search list; register one of your own, as (lr, num_steps, steps_per_epoch) -> Schedule, under lr_search.schedules."
RAMPS_A_TRAINING = 32  # a range test takes no larger part of a training, where that is 20 steps or more


@checked
def transfer(
    workload: Workload | Trainable,
    *,
    schedule: Any,
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

    A range test comes first, then three pilots of a sixteenth of the length around what it suggests; where the cost pays for them (from
    about .72 on), two or three of two ninths of it around where those point. It is `compare` with the strategy `transfer` alone: with a
    storage it goes on where it was killed, and a larger cost adds pilots.

    Args:
        workload: what is trained, as long as it is to be trained; a training function, which runs its own number of steps, is refused.
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
    require_workload_for("transfer()", workload)
    assert isinstance(workload, Workload)
    require(
        isinstance(schedule, str),
        "schedule must be a name: pilots need it laid out for their length",
        _NAMED,
        schedule=schedule,
    )
    ramp = {"num_steps": max(LEAST_RAMP_STEPS, min(USUAL_RAMP_STEPS, workload.num_steps // RAMPS_A_TRAINING))}
    ramp |= range_test or {}
    found = compare(
        workload, strategies=[by_pilots], schedules=[schedule], lr_range=lr_range, range_test=ramp, budget=cost, seeds=[seed], snapshots=0,
        executor=executor, storage=storage, name=name, fresh=fresh, progress=progress,
    )  # fmt: skip
    wanted = (schedule, optimizer_name(workload.optimizer), seed)
    mine = [study for study in found.records if study.kind != "pilot" or study.plan["strategy"] == by_pilots.name]
    told = [each for each in transfers_of(mine) if (each.schedule, each.optimizer, each.seed) == wanted]
    if not told:
        raise LRSearchError(
            "transfer() needs a pilot that has ended, but none has. Call it again with the same storage to go on."
        )
    return told[0]
