"""Pruners decide at evaluations, what they save is refunded, and the budget holds."""

import optuna
import pytest

import lr_search as lrs
from tests.helpers.workloads import line


class At(optuna.pruners.BasePruner):
    """Prunes every trial above an LR at its first report, and notes what was reported."""

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.seen: dict[int, list[int]] = {}

    def __deepcopy__(self, memo: object) -> "At":
        return self  # one for all studies, so that the test sees what it saw

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self.seen[trial.number] = sorted(trial.intermediate_values)
        return bool(trial.params["lr"] > self.lr)


def compared(pruner: optuna.pruners.BasePruner | None, **changes: object) -> lrs.Comparison:
    settings = {
        "strategies": ["random"],
        "schedules": ["constant"],
        "seeds": 1,
        "budget": 4,
        "lr_range": (1e-3, 0.5),
        **changes,
    }
    return lrs.compare(line(), storage=None, pruner=pruner, progress=False, **settings)  # type: ignore[arg-type]


def test_pruned_trials_are_charged_for_their_steps_and_refunded_the_rest() -> None:
    trials = compared(At(0.01)).trials
    pruned = trials[trials["state"] == "PRUNED"]
    assert (pruned["steps"] == 10).all()
    assert len(pruned) >= 1
    assert len(trials) > 4
    assert trials["steps"].sum() <= 4 * 30
    assert trials["steps"].sum() + 30 > 4 * 30  # and no full training would have fitted
    assert trials["steps_charged"].tolist() == trials["steps"].cumsum().tolist()


def test_no_trial_starts_that_does_not_fit() -> None:
    trials = compared(At(0.0), budget=2).trials
    begun_at = trials["steps_charged"] - trials["steps"]
    assert (begun_at + 30 <= 60).all()
    assert len(trials) == 4  # 10 steps each: the fifth would begin at 40 with 20 left


def test_a_trial_is_not_pruned_at_its_last_step_nor_reported_at_its_first() -> None:
    pruner = At(10.0)
    compared(pruner)
    assert pruner.seen[0] == [10, 20]


def test_cyclic_schedules_are_reported_at_cycle_ends() -> None:
    pruner = At(10.0)
    comparison = compared(pruner, schedules=["triangular"])
    ends = comparison.records[0].plan["shape"]["cycle_ends"]
    assert pruner.seen[0] == ends[:-1]


def test_a_pruned_trial_is_pruned_in_optuna_with_its_last_report() -> None:
    storage = optuna.storages.InMemoryStorage()
    lrs.compare(
        line(),
        strategies=["random"],
        schedules=["constant"],
        seeds=1,
        budget=2,
        storage=storage,
        pruner=At(0.0),
        progress=False,
    )
    study = optuna.load_study(study_name="comparison/random/constant/SGD/seed 0", storage=storage)
    assert {t.state for t in study.trials} == {optuna.trial.TrialState.PRUNED}
    assert all(t.value == t.intermediate_values[10] for t in study.trials)


def test_a_fixed_lr_is_tried_once_under_a_pruner_too() -> None:
    assert len(compared(At(0.0), strategies={"mine": 0.1}).trials) == 1


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
        optuna.pruners.SuccessiveHalvingPruner(min_resource=10),
        optuna.pruners.HyperbandPruner(min_resource=10, max_resource=30),
    ],
)
def test_optunas_pruners_run_and_give_the_same_frame_twice(pruner: optuna.pruners.BasePruner) -> None:
    one, other = compared(pruner, budget=6).trials, compared(pruner, budget=6).trials
    times = ["seconds", "started", "ended"]
    assert one.drop(columns=times).equals(other.drop(columns=times))
    assert one["steps"].sum() <= 6 * 30


def test_a_pruner_sees_every_trial_that_ended_before() -> None:
    class Seeing(optuna.pruners.BasePruner):
        def __init__(self) -> None:
            self.seen: dict[int, list[int]] = {}

        def __deepcopy__(self, memo: object) -> "Seeing":
            return self

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            ended = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            self.seen[trial.number] = [t.number for t in ended]
            assert {t.number for t in study.get_trials()} >= {*self.seen[trial.number], trial.number}
            return False

    pruner = Seeing()
    compared(pruner)
    assert pruner.seen == {number: list(range(number)) for number in range(4)}
