"""pruner="auto": one for each schedule, and the plan says which and why; and pruners by name."""

import itertools
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.pruners import MedianPruner, PatientPruner, PercentilePruner

import lr_search as lrs
from lr_search.cli import arguments
from lr_search.comparison.budget import Budget
from lr_search.comparison.plans import study_plans
from lr_search.comparison.question import question
from lr_search.errors import FingerprintError, InvalidInputError, UnknownNameError
from lr_search.schedules import Constant, Schedule, by_name
from lr_search.studies.auto_pruner import PRUNING_RULES, auto_pruner, schedule_kind
from lr_search.studies.plan import StudyPlan, report_steps
from lr_search.studies.pruner_names import PRUNER_NAMES, pruner_by_name
from tests.helpers.layouts import CONTROLLERS, CYCLIC, KINDS
from tests.helpers.workloads import line

WORK = line(num_steps=60, eval_every=6)


def laid_out(name: str) -> Any:
    return by_name(name, 0.1, WORK.num_steps, 8)


def chosen(name: str) -> tuple[Any, str]:
    shape = laid_out(name)
    first = shape if isinstance(shape, Schedule) else shape.schedule
    return auto_pruner(shape, report_steps(WORK, first), WORK.num_steps)


def compared(**changes: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {
        "strategies": ["random"], "schedules": ["constant", "triangular2", "plateau"], "seeds": 1, "budget": 6,
        "lr_range": (1e-3, 0.5), "pruner": "auto", "progress": False, "storage": None,
    }  # fmt: skip
    return lrs.compare(WORK, **(settings | changes))


def test_schedules_are_of_three_kinds() -> None:
    kinds = {name: schedule_kind(laid_out(name), WORK.num_steps) for name in KINDS}
    cyclic = dict.fromkeys(CYCLIC, "cyclic")
    assert kinds == {**dict.fromkeys(KINDS, "annealed"), "constant": "constant", **cyclic}


@pytest.mark.parametrize("name", [*KINDS])
def test_each_gets_the_pruner_of_its_kind_from_a_step_at_which_it_is_evaluated(name: str) -> None:
    shape, (pruner, why) = laid_out(name), chosen(name)
    rule = PRUNING_RULES[schedule_kind(shape, WORK.num_steps)]
    assert isinstance(pruner, PercentilePruner)
    assert (pruner._percentile, pruner._n_startup_trials) == (rule.keep, rule.startup_trials)
    steps = report_steps(WORK, shape)
    assert pruner._n_warmup_steps == min(s for s in steps if s >= rule.warmup_share * WORK.num_steps)
    assert f"from step {pruner._n_warmup_steps} on" in why
    assert rule.why in why


def test_the_rules_can_cut_a_trial_within_a_usual_budget() -> None:
    for rule in PRUNING_RULES.values():
        assert 0 < rule.keep < 100
        assert 1 <= rule.startup_trials <= 4  # budgets of 4 to 16 trials are usual
        assert 0 <= rule.warmup_share < 1
        assert rule.why


@pytest.mark.parametrize("name", sorted(CONTROLLERS))
def test_controllers_get_none(name: str) -> None:
    assert chosen(name) == (
        None,
        "none, for a controller changes each trial's LR on the way: early values do not tell how it ends",
    )


def test_what_is_evaluated_at_its_end_alone_gets_none() -> None:
    pruner, why = auto_pruner(Constant(0.1), [], 60)
    assert pruner is None
    assert "no evaluation between" in why


def test_the_plan_says_which_pruner_each_schedule_got_before_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    compared(dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    for name in ("constant", "triangular2", "plateau"):
        assert f"pruner under {name}: {chosen(name)[1]}" in lines
    assert "at most 1,080 steps in all" in lines[-1]  # 3 x 6 x 60; trials that are cut leave steps for more


def test_without_a_pruner_the_plan_says_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    compared(dry_run=True, pruner=None)
    assert "pruner" not in capsys.readouterr().out


def test_it_cuts_where_it_says_and_the_plan_in_the_storage_says_which(tmp_path: Path) -> None:
    comparison = compared(storage=f"sqlite:///{tmp_path}/a.db")
    trials = comparison.trials
    for record in comparison.records:
        name = record.plan["schedule"]
        pruner, _ = chosen(name)
        assert record.plan["pruner"].startswith("PercentilePruner {" if pruner else "")
        cut = trials[(trials["schedule"] == name) & (trials["state"] == "PRUNED")]
        assert len(cut) > 0 if pruner else len(cut) == 0
        if pruner:
            assert cut["steps"].min() >= pruner._n_warmup_steps
            assert cut["number"].min() >= pruner._n_startup_trials
    with pytest.raises(FingerprintError, match=r"pruner differs: PercentilePruner .* then, none now"):
        compared(storage=f"sqlite:///{tmp_path}/a.db", pruner=None)


def plans(**changes: Any) -> list[StudyPlan]:
    settings: dict[str, Any] = {
        "name": "a", "strategies": ["random"], "schedules": ["constant", "sgdr"], "optimizers": None, "lr_range": (1e-3, 1.0),
        "range_test": None, "budget": 6, "seeds": 1, "pruner": "auto",
    }  # fmt: skip
    return study_plans(Budget(question(WORK, **(settings | changes))))


def test_a_schedule_whose_shape_is_searched_gets_none() -> None:
    found = {plan.schedule: plan.pruner for plan in plans(search_shape=True)}
    assert found["sgdr"] is None
    assert found["constant"] is not None


def test_a_pruner_that_was_given_is_everyones() -> None:
    pruner = MedianPruner()
    assert all(plan.pruner is pruner for plan in plans(pruner=pruner))


def test_what_is_no_pruner_is_an_error() -> None:
    for given in ("median", 3, MedianPruner):
        with pytest.raises(
            InvalidInputError, match="pruner must be an Optuna pruner, 'auto', or None, but got pruner="
        ):
            plans(pruner=given)


def test_a_pruner_within_a_pruner_is_part_of_the_plan() -> None:
    texts = set()
    for patience, trials in itertools.product((1, 2), (1, 2)):
        with pytest.warns(optuna.exceptions.ExperimentalWarning):
            pruner = PatientPruner(MedianPruner(n_startup_trials=trials), patience=patience)
        texts.add(plans(pruner=pruner)[0].attribute()["pruner"])
    assert len(texts) == 4


def test_the_names_are_optunas() -> None:
    shipped = {kind for kind in optuna.pruners.__all__ if kind.endswith("Pruner")}
    assert {type(pruner_by_name(name)).__name__ for name in PRUNER_NAMES} == shipped - {"BasePruner", "ThresholdPruner"}


@pytest.mark.parametrize(
    "name", ["SuccessiveHalving", "successive_halving", "successive-halving", "SuccessiveHalvingPruner"]
)
def test_a_name_may_be_written_in_several_ways(name: str) -> None:
    assert isinstance(pruner_by_name(name), optuna.pruners.SuccessiveHalvingPruner)


def test_the_words_of_the_command_line() -> None:
    assert arguments.pruner("none") is None
    assert arguments.pruner("auto") == "auto"
    assert isinstance(arguments.pruner("median"), MedianPruner)
    with pytest.raises(UnknownNameError, match="Did you mean 'hyperband'"):
        arguments.pruner("hyperbnad")
    with pytest.raises(InvalidInputError, match=r"needs no bound, but got 'threshold'\. .*ThresholdPruner\(upper="):
        arguments.pruner("threshold")
