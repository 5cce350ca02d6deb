"""report_evaluations: what the study hears of a training, and when it ends it."""

import math

import optuna
import pytest
from optuna.trial import FixedTrial

import lr_search as lrs
from lr_search.errors import InvalidInputError, UnknownNameError
from lr_search_optuna import report_evaluations
from tests.helpers.bowl import EVAL_EVERY, NUM_STEPS, bowl, losses, lrs_of

optuna.logging.set_verbosity(optuna.logging.WARNING)


class PruneFrom(optuna.pruners.BasePruner):
    """Prunes at the first report from a step on; counts how often it is asked."""

    def __init__(self, step):
        self.step, self.asked = step, []

    def prune(self, study, trial):
        self.asked.append(trial.last_step)
        return trial.last_step >= self.step


def ask(pruner=None, direction="minimize"):
    return optuna.create_study(direction=direction, pruner=pruner or optuna.pruners.NopPruner()).ask()


def training(lr=0.05, schedule="constant", **changes):
    return lrs.train(bowl(**changes), lrs.schedules.by_name(schedule, lr, NUM_STEPS, 2), seed=0)


def reported(trial):
    return trial.study._storage.get_trial(trial._trial_id).intermediate_values


class Loop:
    """A loop of one's own: a generator, and what became of it."""

    def __init__(self, values, every=10):
        self.values, self.every, self.reached, self.closed = values, every, 0, False

    def run(self):
        try:
            for number, value in enumerate(self.values):
                self.reached = number * self.every
                yield lrs.Evaluation(self.reached, 0.1, value, {"loss": value, "accuracy": 1 - value})
        finally:
            self.closed = True


def test_each_evaluation_is_reported_at_its_step_but_the_first():
    trial = ask()
    value = report_evaluations(trial, training())
    expected = losses(lrs_of("constant", 0.05), 0)
    steps = range(EVAL_EVERY, NUM_STEPS + 1, EVAL_EVERY)
    assert reported(trial) == pytest.approx({step: expected[step] for step in steps}, rel=1e-4)
    assert value == reported(trial)[NUM_STEPS]


def test_cyclic_schedules_are_reported_at_their_cycles_ends_alone():
    trial = ask()
    report_evaluations(trial, training(schedule="triangular2"))
    expected = losses(lrs_of("triangular2", 0.05), 0)
    assert reported(trial) == pytest.approx({step: expected[step] for step in (7, 13, 20)}, rel=1e-4)


def test_the_workloads_objective_is_the_default_and_another_metric_can_be_named():
    by_default, named = ask(), ask()
    expected = losses(lrs_of("constant", 0.05), 0)[-1]
    assert report_evaluations(by_default, training(objective="distance")) == pytest.approx(expected**0.5, rel=1e-4)
    assert report_evaluations(named, training(objective="distance"), "loss") == pytest.approx(expected, rel=1e-4)


def test_any_iterable_of_evaluations_will_do():
    trial = ask(direction="maximize")
    loop = Loop([0.9, 0.5, 0.25])
    assert report_evaluations(trial, loop.run(), "accuracy") == 0.75
    assert reported(trial) == {10: 0.5, 20: 0.75}
    assert report_evaluations(ask(), list(Loop([0.5, 0.4]).run())) == 0.4


# ---- pruning ----


def test_the_pruner_ends_a_training_where_it_says():
    trial, work = ask(PruneFrom(10)), training()
    with pytest.raises(optuna.TrialPruned, match="pruned after step 10"):
        report_evaluations(trial, work)
    assert (work.step, work.stopped) == (10, "closed")
    assert list(reported(trial)) == [5, 10]


@pytest.mark.parametrize("at", [NUM_STEPS, 0])
def test_no_trial_is_pruned_at_its_first_or_last_step(at):
    pruner = PruneFrom(at)
    if at:
        assert report_evaluations(ask(pruner), training()) > 0
        assert pruner.asked == [5, 10, 15]
    else:
        with pytest.raises(optuna.TrialPruned, match="after step 5"):
            report_evaluations(ask(pruner), training())
        assert pruner.asked == [5]  # once a report: successive halving counts


def test_a_loop_of_unknown_length_goes_on_to_see_whether_it_was_the_last_step():
    whole, longer, known = Loop([1.0, 0.5, 0.4]), Loop([1.0, 0.5, 0.4, 0.3, 0.2]), Loop([1.0, 0.5, 0.4, 0.3, 0.2])
    assert report_evaluations(ask(PruneFrom(20)), whole.run()) == 0.4
    with pytest.raises(optuna.TrialPruned, match="after step 20"):
        report_evaluations(ask(PruneFrom(20)), longer.run())
    with pytest.raises(optuna.TrialPruned, match="after step 20"):
        report_evaluations(ask(PruneFrom(20)), known.run(), num_steps=40)
    assert (longer.reached, known.reached) == (30, 20)
    assert whole.closed
    assert longer.closed
    assert known.closed


def test_optunas_median_pruner_prunes_the_worse_half():
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
    lrs_tried = iter([0.05, 0.06, 0.07, 0.001])
    study.optimize(lambda trial: report_evaluations(trial, training(next(lrs_tried))), n_trials=4)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3 + ["PRUNED"]
    assert study.trials[3].last_step == EVAL_EVERY


# ---- what goes wrong ----


@pytest.mark.parametrize(("direction", "worst"), [("minimize", math.inf), ("maximize", -math.inf)])
def test_a_training_that_diverges_has_the_worst_value_and_the_reason(direction, worst):
    trial = ask(direction=direction)
    work = training(lr=1e4, direction=direction)
    assert report_evaluations(trial, work) == worst
    assert trial.user_attrs["diverged"] == work.reason != ""
    trial.study.tell(trial, worst)  # Optuna takes it


@pytest.mark.parametrize("last", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_at_the_end_is_divergence(last):
    trial = ask()
    assert report_evaluations(trial, Loop([1.0, 0.5, last]).run()) == math.inf
    assert trial.user_attrs["diverged"] == f"loss was {last} at step 20"


def test_one_that_recovers_is_not():
    trial = ask()
    assert report_evaluations(trial, Loop([1.0, math.inf, 0.5]).run()) == 0.5
    assert trial.user_attrs == {}


def test_the_training_is_closed_whatever_happens():
    def broken():
        nonlocal closed
        try:
            yield lrs.Evaluation(0, 0.1, 1.0, {"loss": 1.0})
            raise ZeroDivisionError
        finally:
            closed = True

    closed = False
    with pytest.raises(ZeroDivisionError):
        report_evaluations(ask(), broken())
    assert closed
    work = training()
    with pytest.raises(UnknownNameError, match=r"objective must be one that exists, but got 'distnce'.* 'distance'"):
        report_evaluations(ask(), work, "distnce")
    assert work.stopped == "closed"
    finished = training()
    report_evaluations(ask(), finished)
    with pytest.raises(InvalidInputError, match="the training was closed"):
        finished.evaluate()


def test_no_evaluation_is_an_error():
    with pytest.raises(InvalidInputError, match="at least one Evaluation"):
        report_evaluations(ask(), [])


def test_a_study_of_another_direction_is_refused_before_a_step():
    work = training()
    with pytest.raises(InvalidInputError, match="direction must be the workload's, 'minimize', but got 'maximize'"):
        report_evaluations(ask(direction="maximize"), work)
    assert work.step == 0
    other = training(metrics=None)
    assert report_evaluations(ask(direction="minimize"), other) > 0


def test_a_fixed_trial_runs_to_the_end():
    expected = losses(lrs_of("constant", 0.05), 0)[-1]
    assert report_evaluations(FixedTrial({}), training()) == pytest.approx(expected, rel=1e-4)
    assert report_evaluations(FixedTrial({}), training(lr=1e4)) == math.inf
    assert report_evaluations(FixedTrial({}), training(lr=1e4, direction="maximize")) == -math.inf
