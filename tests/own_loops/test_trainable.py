"""Training functions in comparisons: torch, scikit-learn and NumPy loops."""

import gc
import math
import weakref
from functools import partial

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

import lr_search as lrs
from tests.helpers.functions import SMALL, STEPS, TIMES, compared, descend, fit_line, partial_fits, trainable_of


@pytest.mark.parametrize("train", [fit_line, descend, partial_fits])
def test_a_function_is_compared_under_two_strategies_and_two_schedules(train):
    comparison = compared(train)
    summary = comparison.summary()
    assert set(zip(summary["strategy"], summary["schedule"], strict=True)) == {
        (strategy, schedule) for strategy in ("random", "range_test") for schedule in ("constant", "cosine")
    }
    assert (comparison.trials["steps"] == STEPS).all() | (comparison.trials["outcome"] == "diverged").any()
    assert math.isfinite(comparison.recommend().value)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "sgdr"])
def test_each_step_is_taken_at_the_schedules_lr(schedule):
    comparison = compared(descend, strategies={"mine": 0.05}, schedules=[schedule], budget=1)
    lrs_of_steps = lrs.schedules.by_name(schedule, lr=0.05, num_steps=STEPS)(np.arange(STEPS))
    x = 3.0 * (1 - np.prod(1 - 2 * lrs_of_steps))  # x - 3 shrinks by 1 - 2 lr a step
    assert comparison.trials["objective"].item() == pytest.approx((x - 3) ** 2, rel=1e-9)


def test_the_lr_and_groups_of_an_attached_optimizer_are_those_of_a_torch_scheduler():
    seen = []

    def train(run):
        weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
        optimizer = torch.optim.SGD([{"params": [w], "lr": lr} for w, lr in zip(weights, (0.5, 0.1), strict=True)])
        scheduler = run.attach(optimizer)
        for _ in range(run.num_steps):
            seen.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            scheduler.step()
        run.report(val_loss=1.0)

    compared(train, strategies={"mine": 0.2}, schedules=["cosine"], budget=1)
    steps = np.arange(STEPS)
    cosine = 0.1 * (1 + np.cos(np.pi * steps / STEPS))
    np.testing.assert_allclose(seen[-STEPS:], np.stack([cosine, cosine / 5], axis=1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("together", [True, False])
def test_optimizers_built_with_run_lr_keep_their_ratios_though_a_warm_up_begins_at_0(together):
    lrs_of_steps = []

    def train(run):
        one, other, third = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
        groups = [{"params": [one], "lr": run.lr}, {"params": [other], "lr": run.lr / 4}]
        optimizers = [torch.optim.SGD(groups)] + [torch.optim.Adam([third], lr=3 * run.lr)] * together
        scheduler = run.attach(optimizers if together else optimizers[0])
        lrs_of_steps.clear()
        for step in range(run.num_steps):
            lrs_of_steps.append([group["lr"] for each in optimizers for group in each.param_groups])
            for each in optimizers:
                each.step()
            if step == 4:
                optimizers[-1].add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.5 * run.lr})
            scheduler.step()
            run.report(val_loss=1.0)

    comparison = compared(train, strategies={"one": 0.1}, schedules=["wsd"], budget=1)
    assert comparison.trials["outcome"].tolist() == ["finished"]
    wsd = lrs.schedules.by_name("wsd", lr=0.1, num_steps=STEPS)(np.arange(STEPS))
    assert wsd[0] == 0
    ratios = [1, 0.25, 3, 0.5] if together else [1, 0.25, 0.5]  # the last of a group that is added after some steps
    for held, lr in zip(lrs_of_steps, wsd, strict=True):
        np.testing.assert_allclose(held, [lr * ratio for ratio in ratios[: len(held)]])
    assert [len(held) for held in lrs_of_steps] == [len(ratios) - 1] * 5 + [len(ratios)] * (STEPS - 5)


def test_a_list_of_one_optimizer_may_be_attached():
    def train(run):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=run.lr)
        scheduler = run.attach([optimizer])
        for _ in range(run.num_steps):
            optimizer.step()
            scheduler.step()
            run.report(val_loss=optimizer.param_groups[0]["lr"])

    comparison = compared(train, strategies={"one": 0.1}, schedules=["wsd"], budget=1)
    assert comparison.trials["outcome"].tolist() == ["finished"]


def test_several_optimizers_keep_the_ratio_that_they_were_built_with():
    seen = []

    def train(run):
        optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr) for lr in (run.lr, 4 * run.lr)]
        scheduler = run.attach(optimizers)
        for _ in range(run.num_steps):
            seen.append([each.param_groups[0]["lr"] for each in optimizers])
            for optimizer in optimizers:
                optimizer.step()
            scheduler.step()
        run.report(val_loss=1.0)

    comparison = compared(train, strategies={"mine": 0.2}, schedules=["constant"], budget=1)
    assert seen[-1] == pytest.approx([0.2, 0.8])
    code = comparison.recommend().code
    assert "lr=0.2, num_steps=40).attach(optimizers[0])" in code
    assert "lr=0.8, num_steps=40).attach(optimizers[1])" in code


@pytest.mark.parametrize("pruner", [None, optuna.pruners.MedianPruner(n_startup_trials=1)])
def test_a_function_as_a_metric_is_called_where_a_report_is_due_as_the_number_would_be(pruner):
    settings = {"strategies": ["random", "range_test"], "schedules": ["constant", "sgdr"], "pruner": pruner}
    numbers, functions = (compared(partial(fit_line, by_function=each), **settings) for each in (False, True))
    pd.testing.assert_frame_equal(*(each.trials.drop(columns=TIMES) for each in (numbers, functions)), check_exact=True)
    pd.testing.assert_frame_equal(numbers.evaluations, functions.evaluations, check_exact=True)


def test_a_function_as_a_metric_is_never_called_in_a_range_test_and_may_stand_beside_numbers():
    called = []

    def train(run):
        for step in range(run.num_steps):
            run.loss(run.lr)
            run.step()
            run.report(val_loss=lambda: called.append(run.ramping) or 1.0, steps=step + 1)

    comparison = compared(train, strategies=["range_test"], schedules=["constant"], budget=2)
    assert set(called) == {False}
    told = comparison.evaluations.pivot_table(index="step", columns="metric", values="value")
    assert told.index.tolist() == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert told["steps"].tolist() == told.index.tolist()


def test_of_a_functions_data_nothing_is_said_that_is_not_known(tmp_path):
    def bowl(run):
        x = 0.0
        for _ in range(run.num_steps):
            run.loss((x - 3) ** 2)
            x -= run.lr * 2 * (x - 3)
            run.step()
            if run.due:
                run.report(distance=abs(x - 3))

    settings = {"strategies": ["random"], "schedules": ["sgdr"], "seeds": 1, "budget": 3, "storage": None}
    trainable = lrs.Trainable(bowl, num_steps=STEPS, objective="distance")
    comparison = lrs.compare(trainable, **settings, confirm=1, progress=False)
    best = comparison.recommend()
    assert best.confirmed
    assert best.on_test_data is None
    assert lrs.compare(trainable, **settings, progress=False).recommend().on_test_data is None
    comparison.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "distance" in page
    for told in (str(comparison), best.reason, page):
        assert "valid_data" not in told
        assert "validation distance" not in told.lower()


def test_pasted_code_gives_the_trials_objective_at_the_same_seed():
    comparison = compared(fit_line, strategies={"mine": 0.05}, schedules=["one_cycle"], budget=1)
    code = comparison.recommend().code
    torch.manual_seed(0)
    reported = {}

    class ByHand:
        num_steps, lr = STEPS, 0.7

        def attach(self, optimizer):
            names = {"optimizer": optimizer}
            exec(code, names)
            return names["scheduler"]

        def loss(self, value):
            self.due = False

        def evaluating(self):
            return torch.random.fork_rng()

    run = ByHand()
    steps = []
    run.loss = lambda value: (steps.append(value), setattr(run, "due", len(steps) == STEPS))
    run.report = lambda **metrics: reported.update(metrics)
    fit_line(run)
    assert float(reported["val_loss"]) == pytest.approx(comparison.trials["objective"].item(), rel=1e-6)


def test_what_an_evaluation_draws_does_not_change_the_training():
    def finals(eval_every):
        trained = lrs.compare(
            trainable_of(fit_line, eval_every=eval_every),
            **{**SMALL, "strategies": {"mine": 0.05}, "schedules": ["constant"]},
            budget=1,
        )
        return trained.trials["objective"].item()

    assert finals(40) == finals(3)


def descend_in_float64(run):
    x = np.float64(0.0)
    with np.errstate(all="ignore"):
        for _ in range(run.num_steps):
            run.loss((x - 3) ** 2)
            x -= run.lr * 2 * (x - 3)
            run.step()
            if run.due:
                run.report(val_loss=(x - 3) ** 2)


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        (descend_in_float64, "the training loss became inf at step 2"),
        (descend, "a number became too large after step 1"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged(train, reason):
    comparison = compared(
        train, strategies={"high": 1e200, "fine": 0.1}, schedules=["constant"], budget=1, lr_range=(1e-3, 1.0)
    )
    by_strategy = comparison.trials.set_index("strategy")
    assert by_strategy.loc["high", "outcome"] == "diverged"
    assert by_strategy.loc["high", "objective"] == math.inf
    assert by_strategy.loc["high", "steps"] < STEPS
    assert by_strategy.loc["high", "reason"] == reason
    assert by_strategy.loc["fine", "outcome"] == "finished"


def test_an_exception_is_the_trials_failure():
    def fails_high(run):
        if run.lr > 0.5:
            raise ValueError("too high for this solver")
        descend(run)

    comparison = compared(
        fails_high, strategies={"high": 0.6, "low": 0.1}, schedules=["constant"], budget=1, range_test={}
    )
    by_strategy = comparison.trials.set_index("strategy")
    assert by_strategy.loc["high", "state"] == "FAIL"
    assert "too high for this solver" in by_strategy.loc["high", "reason"]
    assert by_strategy.loc["low", "outcome"] == "finished"


def test_a_pruner_cuts_a_function_at_a_report():
    pruner = optuna.pruners.ThresholdPruner(upper=5.0)
    comparison = compared(
        descend, strategies={"low": 1e-4, "fine": 0.1}, schedules=["constant"], budget=1, pruner=pruner
    )
    by_strategy = comparison.trials.set_index("strategy")
    assert by_strategy.loc["low", "outcome"] == "pruned"
    assert by_strategy.loc["low", "steps"] == STEPS // 10  # the first report
    assert by_strategy.loc["fine", "outcome"] == "finished"


def test_plateau_lowers_the_lr_of_an_attached_optimizer():
    seen = []

    def stuck(run):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=run.lr)
        scheduler = run.attach(optimizer)
        for _ in range(run.num_steps):
            seen.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
            if run.due:
                run.report(val_loss=1.0)

    comparison = compared(stuck, strategies={"mine": 0.1}, schedules=["plateau"], budget=1)
    reports = STEPS // 10
    # the first report is the best, the 4th after it is one too many
    assert seen[-STEPS:][4 * reports - 1] == pytest.approx(0.1)
    assert seen[-STEPS:][4 * reports] == pytest.approx(0.01)
    names = {"optimizer": torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)}
    exec(comparison.recommend().code, names)
    pasted = []
    for step in range(1, STEPS + 1):
        pasted.append(names["optimizer"].param_groups[0]["lr"])
        if step % reports == 0:
            names["scheduler"].step(1.0)
    assert pasted == pytest.approx(seen[-STEPS:])


def test_cyclic_schedules_are_reported_at_their_cycles_ends():
    comparison = compared(descend, strategies={"mine": 0.1}, schedules=["sgdr"], budget=1)
    ends = lrs.schedules.by_name("sgdr", lr=0.1, num_steps=STEPS).cycle_ends(STEPS)
    assert comparison.evaluations["step"].unique().tolist() == ends


def test_the_objective_before_the_first_step_is_known_without_a_report_there():
    comparison = compared(descend, strategies={"mine": 0.1}, schedules=["constant"], budget=1)
    assert comparison.records[-1].worst == pytest.approx(9.0, rel=1e-6)


def test_another_function_under_the_same_name_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    settings = {"strategies": {"mine": 0.1}, "schedules": ["constant"], "budget": 1, "storage": url}
    compared(descend, **settings)

    def elsewhere(run):
        run.loss(4.0)
        descend(run)

    with pytest.raises(lrs.errors.FingerprintError, match="first loss differs"):
        compared(elsewhere, **settings)


def test_other_settings_of_a_second_optimizer_are_refused(tmp_path):
    def adversaries(betas):
        def train(run):
            one, other = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
            optimizers = [torch.optim.Adam([one], run.lr), torch.optim.Adam([other], run.lr, betas=betas)]
            scheduler = run.attach(optimizers)
            for _ in range(run.num_steps):
                for each in optimizers:
                    each.step()
                scheduler.step()
                run.report(val_loss=1.0)

        return train

    url = f"sqlite:///{tmp_path}/a.db"
    settings = {"strategies": {"mine": 0.1}, "schedules": ["constant"], "budget": 1, "storage": url, "name": "gan"}
    compared(adversaries((0.9, 0.999)), **settings)
    with pytest.raises(lrs.errors.FingerprintError, match=r"group 2's betas differ"):
        compared(adversaries((0.5, 0.999)), **settings)


def test_it_goes_on_where_it_was_and_a_larger_budget_extends_it(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    first = len(compared(fit_line, budget=2, storage=url).trials)
    again = compared(fit_line, budget=3, storage=url)
    whole = compared(fit_line, budget=3)
    assert first < len(again.trials)
    frames = [each.trials.drop(columns=TIMES) for each in (again, whole)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_random_states_are_as_before(capsys):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    trainable_of(fit_line).range_test()
    compared(fit_line, strategies={"mine": 0.1}, schedules=["constant"], budget=1)
    assert torch.equal(before, torch.get_rng_state())


def test_of_all_seeds_and_trials_one_model_at_most_is_held():
    made = []

    def train(run):
        weight = torch.nn.Parameter(torch.ones(1))
        made.append(weakref.ref(weight))
        optimizer = torch.optim.SGD([weight], lr=run.lr)
        scheduler = run.attach(optimizer)
        for _ in range(run.num_steps):
            optimizer.step()
            scheduler.step()
            run.report(val_loss=1.0)

    trainable = trainable_of(train)
    settings = {**SMALL, "strategies": {"mine": 0.1}, "schedules": ["constant"], "seeds": 3}
    lrs.compare(trainable, budget=1, **settings)
    gc.collect()
    assert len(made) >= 6  # a first look and a trial of each
    assert sum(each() is not None for each in made) <= 1


def test_the_decorator_makes_what_the_class_makes():
    decorated = lrs.trainable(num_steps=STEPS, direction="maximize", eval_every=5)(descend)
    assert decorated == lrs.Trainable(descend, num_steps=STEPS, direction="maximize", eval_every=5)
    assert partial(lrs.Trainable, descend, num_steps=STEPS)().eval_every == 4


def test_without_an_objective_at_step_0_a_diverged_trial_counts_as_the_middle_of_the_first_reports():
    def train(run):
        x = 1.0
        for step in range(run.num_steps):
            x -= run.lr * 2 * x
            run.step()
            if step % 4 == 3 and run.due:  # as a trainer that reports epochs
                run.report(val_loss=x * x)
        run.loss(x * x if abs(x) < 1e3 else math.inf)

    settings = {**SMALL, "strategies": {"low": 1e-4, "mid": 0.1, "high": 50.0}, "schedules": ["constant"]}
    comparison = lrs.compare(trainable_of(train, eval_every=4), **settings, budget=1)
    best = comparison.recommend()
    assert comparison.trials["outcome"].tolist().count("diverged") == 1
    assert math.isfinite(best.value)
    assert best.lr == pytest.approx(0.1)
