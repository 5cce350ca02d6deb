"""Every pruner that Optuna ships runs through compare(), whatever the schedule, the strategy and the numbers it is told."""

import functools
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import optuna
import pandas as pd
import pytest
import torch
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError, MissingPackageError
from lr_search.studies.pruning import WORST, reckonable
from tests.helpers.marks import usually
from tests.helpers.workloads import data, line, squared_error

STEPS, EVERY, BUDGET = 12, 2, 5
STRATEGIES = {"grid": "grid", "range_test": "range_test", "tpe": optuna.samplers.TPESampler}
SCHEDULES = ["constant", "sgdr"]
TIMES = ["seconds", "started", "ended", "worker"]
KEYS = ["strategy", "schedule"]


def median() -> MedianPruner:
    return MedianPruner(n_startup_trials=1, n_warmup_steps=0)


def experimental(make: Callable[[], BasePruner]) -> BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make()


PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "median": median,
    "percentile": lambda: PercentilePruner(25.0, n_startup_trials=1),
    "patient": lambda: PatientPruner(median(), patience=0),
    "successive halving": lambda: SuccessiveHalvingPruner(min_resource=2, reduction_factor=2),
    "successive halving, auto": SuccessiveHalvingPruner,
    "hyperband": lambda: HyperbandPruner(min_resource=2, max_resource=STEPS, reduction_factor=2),
    "hyperband, auto": lambda: HyperbandPruner(min_resource=2, reduction_factor=2),
    "threshold": lambda: ThresholdPruner(upper=1.0),
    "wilcoxon": lambda: WilcoxonPruner(p_threshold=0.1),
    "nop": NopPruner,
}
CUTTING = set(PRUNERS) - {"nop"}


@pytest.fixture(params=usually(["median", "successive halving", "hyperband, auto", "threshold", "nop"], PRUNERS))
def pruner(request: pytest.FixtureRequest) -> BasePruner:
    return experimental(PRUNERS[request.param])


def small(**changes: Any) -> lrs.Workload:
    return line(**{"num_steps": STEPS, "eval_every": EVERY, "valid_data": lambda: data()[:1], **changes})


@pytest.fixture(autouse=True)
def _unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan tells the time by the pace of a few steps, which takes longer than these trainings."""
    monkeypatch.setattr("lr_search.executors.executor.pace_alone", lambda workload: None)


def compared(pruner: BasePruner, storage: Any = None, **changes: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {
        "strategies": STRATEGIES, "schedules": SCHEDULES, "seeds": 1, "budget": BUDGET, "lr_range": (1e-3, 1e3),
        "range_test": {"num_steps": 20}, "name": "pruned", "progress": False,
    }  # fmt: skip
    settings |= changes
    workload = settings.pop("workload", None) or small()
    return lrs.compare(workload, storage=storage, pruner=pruner, **settings)


def untimed(trials: pd.DataFrame) -> pd.DataFrame:
    return trials.drop(columns=TIMES)


def expected_steps(comparison: lrs.Comparison, schedule: str) -> list[int]:
    ends = next(r.plan["shape"]["cycle_ends"] for r in comparison.records if r.plan["schedule"] == schedule)
    return [0, *(ends or range(EVERY, STEPS + 1, EVERY))]


def test_all_of_them_are_here() -> None:
    ours = {type(experimental(make)).__name__ for make in PRUNERS.values()}
    assert ours == {name for name in optuna.pruners.__all__ if name.endswith("Pruner")} - {"BasePruner"}


class Asked:
    """What a kind of pruner was asked: (study, trial, steps reported)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[BasePruner]) -> None:
        self.calls: list[tuple[str, int, tuple[int, ...]]] = []
        original = kind.prune

        @functools.wraps(original)
        def prune(pruner: BasePruner, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            if trial.intermediate_values:
                self.calls.append((study.study_name, trial.number, tuple(trial.intermediate_values)))
            return original(pruner, study, trial)

        monkeypatch.setattr(kind, "prune", prune)


def test_every_pruner_keeps_the_rules(
    pruner: BasePruner, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["pruner"]
    asked, storage = Asked(monkeypatch, type(pruner)), optuna.storages.InMemoryStorage()
    comparison = compared(pruner, storage)
    trials, evaluations = comparison.trials, comparison.evaluations.query("metric == 'loss'")
    assert ((trials["state"] == "PRUNED").any()) == (name in CUTTING)
    assert len(asked.calls) == len(set(asked.calls))  # one question a report
    charged = trials.groupby(KEYS, observed=True)["steps_charged"].last()
    assert (charged <= BUDGET * STEPS).all()
    assert (charged + STEPS > BUDGET * STEPS).all()  # and no more would have fitted
    by_key = trials.set_index([*KEYS, "number"])
    for (strategy, schedule, number), rows in evaluations.groupby([*KEYS, "number"], observed=True):
        trial = by_key.loc[strategy, schedule, number]
        steps, full = rows["step"].tolist(), expected_steps(comparison, str(schedule))
        assert steps == full[: len(steps)]
        if trial["state"] == "PRUNED":
            assert trial["steps"] == steps[-1] < STEPS
        elif trial["outcome"] == "finished":
            assert steps == full
            assert trial["steps"] == STEPS
        study = optuna.load_study(study_name=f"pruned/{strategy}/{schedule}/SGD/seed 0", storage=storage)
        reported = study.trials[number].intermediate_values
        assert list(reported) == (full[1:-1] if trial["state"] == "COMPLETE" else steps[1:])
    lr_counts = trials.groupby(KEYS, observed=True)["lr"].agg(["nunique", "size"])
    assert (lr_counts["nunique"] == lr_counts["size"]).all()  # no point twice
    # the same again, and by itself: though Optuna's Hyperband and SuccessiveHalving remember what they saw first
    alone = compared(pruner, strategies={"tpe": STRATEGIES["tpe"]}, schedules=["sgdr"]).trials
    among = trials.query("strategy == 'tpe' and schedule == 'sgdr'").reset_index(drop=True)
    pd.testing.assert_frame_equal(
        untimed(among), untimed(alone), check_categorical=False, check_dtype=False, check_exact=True
    )


def test_the_pruner_that_was_given_is_left_as_it_was() -> None:
    pruner = HyperbandPruner(min_resource=2, reduction_factor=2)
    before = dict(vars(pruner))
    compared(pruner, strategies=["random"])
    assert vars(pruner) == before


class Remembering(nn.Linear):
    """Knows the weight that it began with."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.register_buffer("first", self.weight.detach().clone())


def sick(when: Callable[[torch.Tensor], torch.Tensor], value: float, sign: float = 1.0) -> Any:
    """Metrics that are sick as soon as the model was trained: data on which an untrained one is sick are refused."""

    def metrics(model: Any, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        loss = squared_error(model, batch)
        trained = (model.weight != model.first).any()
        return {"score": torch.where(when(loss) & trained, torch.tensor(value), sign * loss)}

    return metrics


NUMBERS = {
    "nan while bad": (lambda loss: loss > 1, math.nan, "minimize"),
    "-inf while bad": (lambda loss: loss > 1, -math.inf, "maximize"),
    "always inf": (lambda loss: loss > -1, math.inf, "minimize"),
}


@pytest.mark.parametrize("case", NUMBERS)
@pytest.mark.filterwarnings("ignore:.*normal approximation")  # older SciPys, of what WilcoxonPruner asks
def test_no_number_makes_a_pruner_stumble(pruner: BasePruner, case: str) -> None:
    when, value, direction = NUMBERS[case]
    metrics = sick(when, value, 1.0 if direction == "minimize" else -1.0)
    work = small(model=Remembering, metrics=metrics, objective="score", direction=direction)
    trials = compared(pruner, workload=work, strategies=["random"], schedules=["constant"]).trials
    assert set(trials["state"]) <= {
        "COMPLETE",
        "PRUNED",
    }  # pytest turns every warning into an error, and a trial that has one fails
    assert trials["steps"].sum() <= BUDGET * STEPS


def test_what_is_not_finite_counts_as_the_worst() -> None:
    minimize, maximize = optuna.study.StudyDirection.MINIMIZE, optuna.study.StudyDirection.MAXIMIZE
    assert [reckonable(v, minimize) for v in (math.nan, math.inf, -math.inf, 0.5)] == [WORST, WORST, -WORST, 0.5]
    assert [reckonable(v, maximize) for v in (math.nan, math.inf, -math.inf, 0.5)] == [-WORST, WORST, -WORST, 0.5]


def test_a_pruned_trials_objective_is_what_it_was_at_the_cut() -> None:
    metrics = sick(lambda loss: loss > 0, math.nan)
    work = small(model=Remembering, metrics=metrics, objective="score")
    trials = compared(
        ThresholdPruner(upper=10.0), workload=work, strategies=["random"], schedules=["constant"], budget=1
    ).trials
    assert trials["state"].tolist() == ["PRUNED"]
    assert math.isnan(trials["objective"].item())


def test_a_diverged_trial_is_the_worst_wherever_the_others_reported() -> None:
    storage = optuna.storages.InMemoryStorage()
    compared(NopPruner(), storage, strategies={"wild": 1e20}, schedules=["constant"])
    (trial,) = optuna.load_study(study_name="pruned/wild/constant/SGD/seed 0", storage=storage).trials
    assert trial.intermediate_values == dict.fromkeys(range(EVERY, STEPS, EVERY), WORST)
    assert trial.value == math.inf


def test_wilcoxon_without_its_package_says_so_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lr_search.studies.pruner_names.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="WilcoxonPruner needs scipy: pip install scipy"):
        compared(experimental(WilcoxonPruner))


def test_a_pruner_that_cannot_be_copied_says_so_before_the_first_step() -> None:
    pruner = NopPruner()
    pruner.held = (step for step in range(3))  # type: ignore[attr-defined]
    with pytest.raises(
        InvalidInputError, match=r"must be one that can be copied for each study, but .* cannot: cannot pickle"
    ):
        compared(pruner)


class Looking(optuna.samplers.RandomSampler):
    """Notes which trials it is shown at each."""

    seen: ClassVar[dict[int, list[int]]] = {}

    def sample_independent(self, study: optuna.Study, trial: optuna.trial.FrozenTrial, *parameter: Any) -> Any:
        self.seen[trial.number] = [each.number for each in study.get_trials()]
        return super().sample_independent(study, trial, *parameter)


@pytest.mark.parametrize("name", ["hyperband", "hyperband, auto"])
def test_a_sampler_sees_the_same_bracket_of_hyperbands_after_a_restart(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for budgets in ([5], [1, 2, 3, 4, 5]):
        monkeypatch.setattr(Looking, "seen", {})
        storage = optuna.storages.InMemoryStorage()
        for budget in budgets:
            compared(PRUNERS[name](), storage, strategies={"looking": Looking}, schedules=["constant"], budget=budget)
        found.append(Looking.seen)
    assert found[0] == found[1]
    assert any(len(seen) <= number for number, seen in found[0].items())  # not all that there are


class Killed(KeyboardInterrupt):
    """The process is gone: nothing more is written."""


class Mortal(optuna.storages.InMemoryStorage):
    """A storage whose process is killed after its n-th write: before it is the same as after the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.left = math.inf


def _dying(name: str) -> Any:
    original = getattr(optuna.storages.InMemoryStorage, name)

    def write(self: Mortal, *args: Any, **options: Any) -> Any:
        if self.left <= 0:
            raise Killed
        result = original(self, *args, **options)
        self.left -= 1
        if self.left <= 0:
            raise Killed
        return result

    return write


for _name in (
    "create_new_trial", "set_trial_param", "set_trial_state_values", "set_trial_intermediate_value",
    "set_trial_user_attr", "set_trial_system_attr",
):  # fmt: skip
    setattr(Mortal, _name, _dying(_name))


@pytest.mark.parametrize(
    "name", ["late median", "successive halving", pytest.param("hyperband", marks=pytest.mark.long)]
)
def test_killed_at_any_write_and_started_again_nothing_is_decided_twice(name: str) -> None:
    """Killed after its n-th write, for every n, until a run comes through."""
    settings: dict[str, Any] = {
        "strategies": ["random"], "schedules": ["constant"], "budget": 4 if name == "hyperband" else 3, "seeds": [1],
        "workload": small(num_steps=6), "lr_range": (1e-2, 1e2),
    }  # fmt: skip
    make = {**PRUNERS, "late median": lambda: MedianPruner(n_startup_trials=1, n_warmup_steps=4)}[name]
    undisturbed = compared(make(), **settings)
    assert (undisturbed.trials["state"] == "PRUNED").any()
    for write in itertools.count(1):
        storage = Mortal()
        storage.left = write
        try:
            compared(make(), storage, **settings)
            break
        except Killed:
            storage.left = math.inf
        again = compared(make(), storage, **settings)
        assert untimed(again.trials).equals(untimed(undisturbed.trials)), write
    assert write > 20
