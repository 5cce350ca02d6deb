"""What benchmarks/judge.py says, on regret curves with a known answer."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

import lr_search as lrs

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from judge_priors import PriorRun, constant_widths
from judge_regrets import RegretCurve, regret_curve
from judge_runs import Run, run_at
from judge_searches import grid, picked, sampled, searched
from judge_statistics import best_width, difference, estimate, interval_score, task_means
from judge_tables import regret_table, status_table

pytestmark = pytest.mark.bench

INITIAL = [2.0, 2.1, 1.9, 2.0]


def curve_of(of_lr: dict[float, list[float | None]], schedule: str = "constant", task: str = "task") -> RegretCurve:
    return regret_curve(task, schedule, 300, "300", {f"{lr:.6g}": losses for lr, losses in of_lr.items()}, INITIAL)


def quadratic(best: float, schedule: str = "constant", task: str = "task", seeds: int = 2) -> RegretCurve:
    """A regret of (decades from the best)^2 at seven LRs, for every seed alike; the best drop is 1."""
    places = best + np.arange(-3, 4) * 2.5 / 6
    return curve_of(
        {10**p: [INITIAL[seed] - max(0.0, 1 - (p - best) ** 2) for seed in range(seeds)] for p in places},
        schedule,
        task,
    )


# ---- regret ----


def test_regret_is_the_share_of_the_best_mean_drop_that_is_lost() -> None:
    found = curve_of({1e-3: [1.5, 1.7], 1e-2: [1.0, 0.9, 1.1, 1.0], 1e-1: [None, 1.1], 1.0: [None, 3.0]})
    # drops: (.5 + .4) / 2, (1 + 1.2 + .8 + 1) / 4, (0 + 1) / 2, 0
    np.testing.assert_allclose(found.drops, [0.45, 1.0, 0.5, 0.0])
    assert [found.regret(place) for place in (-3, -2, -1, 0)] == pytest.approx([0.55, 0.0, 0.5, 1.0])
    assert found.regret(-1.75) == pytest.approx(0.125)  # linear in log LR
    assert found.best == -2


def test_seeds_that_were_lucky_make_no_best_of_an_lr_that_had_only_those() -> None:
    lucky = np.array([0.2, 0.1, -0.1, -0.2])  # of each seed, wherever it is trained
    losses = np.array(INITIAL) - lucky
    found = curve_of(
        {1e-3: list(losses[:2] - 0.75), 1e-2: list(losses - 0.8), 1e-1: list(losses - 0.6), 1.0: [None, 1.0]}
    )
    np.testing.assert_allclose(found.drops, [0.75, 0.8, 0.6, 0.55])  # the first one's plain mean is .9
    assert found.best == -2


def test_beyond_the_grid_a_regret_is_no_less_than_what_is_known() -> None:
    found = curve_of({1e-3: [1.5, 1.7], 1e-2: [1.0, 0.9], 1e-1: [1.1, 1.1]})
    assert found.regret(-0.99) == 1.0
    at_lowest = 1 - found.regret(-3)
    assert 1 - found.regret(-3.5) == pytest.approx(at_lowest / math.sqrt(10))
    assert found.regret(-9) == pytest.approx(1.0, abs=1e-5)
    assert [found.outside(place) for place in (-3.1, -3, -1, -0.9)] == [True, False, False, True]


@pytest.mark.parametrize("losses", [[0.5, 0.8, 0.9], [0.9, 0.8, 0.5]])
def test_a_best_lr_at_the_grids_end_is_censored(losses: list[float]) -> None:
    assert curve_of(dict(zip([1e-3, 1e-2, 1e-1], ([loss] for loss in losses), strict=True))).best is None


def test_an_interval_has_its_extreme_regrets_at_its_ends_or_on_the_grid() -> None:
    found = quadratic(-2.0)
    fine = [found.regret(place) for place in np.linspace(-2.3, -1.4, 2001)]
    assert found.regrets_within(-2.3, -1.4) == pytest.approx((min(fine), max(fine)), abs=1e-3)
    assert found.regrets_within(-2.3, 0.0)[1] == 1.0  # above the grid


# ---- the losses of single seeds ----


def test_a_seed_has_its_own_losses_where_it_was_trained_and_others_noise_elsewhere() -> None:
    found = curve_of({1e-3: [1.5, 1.7], 1e-2: [1.0, 0.9, 1.2, 1.1], 1e-1: [None, None], 1.0: [1.4, 1.4]})
    np.testing.assert_array_equal(found.seed_losses(1), [1.7, 0.9, np.inf, 1.4])
    third = found.seed_losses(2)
    assert third[1] == 1.2
    assert third[2] == np.inf
    residuals = [*(np.array([1.0, 0.9, 1.2, 1.1]) - 1.05) * math.sqrt(4 / 3), 0.0]  # of regret below 1/2: 1e-2 and 1
    assert min(abs(third[0] - 1.6 - residual) for residual in residuals) < 1e-12
    np.testing.assert_array_equal(third, found.seed_losses(2))


def test_a_training_between_two_lrs_lies_between_their_losses_or_goes_as_the_nearer() -> None:
    found = curve_of({1e-3: [1.5], 1e-2: [1.0], 1e-1: [None]})
    losses = found.seed_losses(0)
    assert found.looked_up(losses, -2.25) == pytest.approx(1.125)
    assert found.looked_up(losses, -2.0) == 1.0
    assert found.looked_up(losses, -1.6) == 1.0
    assert found.looked_up(losses, -1.4) == np.inf
    assert found.looked_up(losses, -0.5) == np.inf
    assert found.looked_up(losses, -4.0) == pytest.approx(2.0 - 0.5 / 10)


# ---- statistics ----


def test_the_interval_is_that_of_the_mean_over_samples_drawn_anew() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = estimate(values.tolist())
    half = 1.96 * values.std() / math.sqrt(400)  # the normal approximation, good at 400 tasks
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    assert estimate([0.25]).low == estimate([0.25]).high == 0.25


def test_a_mean_of_zeros_and_ones_has_the_binomial_interval() -> None:
    found = estimate([1.0] * 3 + [0.0] * 7)
    assert (found.low, found.high) == pytest.approx(
        (0.0, 0.6), abs=0.101
    )  # scipy.stats.binom(10, .3).ppf([.025, .975]) / 10


def test_each_task_counts_once_and_is_paired_with_itself() -> None:
    one = task_means([("a", 1.0), ("a", 3.0), ("b", 5.0), ("c", 7.0)])
    assert one == {"a": 2.0, "b": 5.0, "c": 7.0}
    apart, shared = difference(one, {"a": 1.0, "b": 4.0})
    assert (apart.mean, apart.low, apart.high, shared) == (1.0, 1.0, 1.0, 2)


def test_the_interval_score_by_hand() -> None:
    assert interval_score(-3.0, -1.0, -2.0) == 2.0
    assert interval_score(-3.0, -1.0, -3.5) == pytest.approx(2.0 + 10 * 0.5)
    assert interval_score(-3.0, -1.0, -0.9) == pytest.approx(2.0 + 10 * 0.1)


@pytest.mark.parametrize("count", [5, 12, 41])
def test_the_constant_width_is_the_one_of_least_score(count: int) -> None:
    errors = np.random.default_rng(count).normal(0.2, 0.7, count)

    def score(width: float) -> float:
        return float(np.mean([interval_score(-width / 2, width / 2, error) for error in errors]))

    assert score(best_width(errors.tolist())) == pytest.approx(min(map(score, np.linspace(0, 6, 6001))), abs=1e-3)


# ---- priors ----


def test_what_an_interval_holds() -> None:
    truth = quadratic(-2.0)  # about as good as the best: between -2 - .12 and -2 + .12
    narrow, beside, far = (
        PriorRun(truth, 0, -2, -2.1, -1.9),
        PriorRun(truth, 0, -1.5, -1.95, -1),
        PriorRun(truth, 0, -1, -1.5, 0),
    )
    assert [(run.holds_best, run.holds_good, run.all_good) for run in (narrow, beside, far)] == [
        (True, True, True), (False, True, False), (False, False, False),
    ]  # fmt: skip
    assert beside.score == pytest.approx(0.95 + 10 * 0.05)
    assert narrow.of_width(1.0).width == pytest.approx(1.0)


def test_widths_are_fitted_by_schedule_without_what_is_censored() -> None:
    known = [
        PriorRun(quadratic(-2.0, "cosine"), seed, -2.0 + error, -3, -1)
        for seed, error in enumerate([0.1, -0.3, 0.2, 0.7, 0.4])
    ]
    censored = curve_of({1e-3: [0.5], 1e-2: [0.8]}, "wsd")
    found = constant_widths([*known, PriorRun(censored, 0, -2, -3, -1)])
    assert found == {"cosine": pytest.approx(0.8)}  # a fifth, the .7, is missed


# ---- searches ----


def test_a_search_picks_the_lowest_of_its_trainings_and_none_where_all_diverged() -> None:
    assert picked([(-3.0, 1.0), (-2.0, 0.5), (-1.0, math.inf)]) == -2.0
    assert picked([(-1.0, math.inf)]) is None
    assert run_at(quadratic(-2.0), "row", 0, None).regret == 1.0


def test_a_grid_covers_six_decades_from_its_phase_on() -> None:
    assert grid(3, 0.0) == [-5, -3, -1]
    assert grid(4, 0.5) == pytest.approx([-4.25, -2.75, -1.25, 0.25])


def test_on_a_curve_without_noise_the_searches_pick_the_best_they_tried() -> None:
    truth, curve = quadratic(-1.7), usual_curve()
    prior = lrs.LRPrior.from_curves([curve], schedule="constant")
    tried = [place for place, _ in sampled(prior, truth, truth.seed_losses(0), 0)]
    found = {run.row: run for run in searched(curve, truth, 0) if run.row.startswith("range")}
    assert tried[0] == pytest.approx(math.log10(prior.mode))
    std = prior.log10_std
    assert tried[1:3] == pytest.approx([tried[0] + std, tried[0] - std])
    for count in (1, 2, 3, 8):
        least = min(tried[:count], key=truth.regret)
        assert found[f"range test, then {count}"].regret == pytest.approx(truth.regret(least), abs=1e-9)
    assert found["range test, then 8"].regret < 0.02


def usual_curve() -> lrs.LRCurve:
    lr = np.logspace(-6, 1, 100)
    return lrs.LRCurve.from_arrays(lr, 2 - 1.5 / (1 + (0.05 / lr) ** 2) + (lr / 2) ** 3)


# ---- tables ----


def test_the_tables_have_the_means_by_row_and_status() -> None:
    def run(task: str, row: str, regret: float, status: str | None = None) -> Run:
        return Run(task, "constant", "300", row, 0, -2.0, status, regret, row == "always 1e-1")

    runs = [
        run("a", "present rule", 0.02, "ok"), run("b", "present rule", 0.3, "ok"), run("c", "present rule", 0.1, "flat"),
        *(run(task, "always 1e-1", regret) for task, regret in {"a": 0.12, "b": 0.4, "c": 0.2}.items()),
        run("a", "gain_ratio", 0.01),
    ]  # fmt: skip
    lines = regret_table(runs).splitlines()
    assert "0.140" in lines[1]
    assert lines[2].split()[2:] == [
        "0.240", "0.120", "to", "0.400", "0%", "33%", "0%", "100%", "+0.100", "(+0.100", "to", "+0.100)",
    ]  # fmt: skip
    assert "-0.010" in lines[3]
    assert lines[3].endswith("of 1 tasks")
    by_status = status_table(runs).splitlines()
    assert by_status[1].split()[:2] == ["ok", "0.160"]
    assert by_status[2].split()[:2] == ["flat", "0.100"]
    assert by_status[-1] == "ok and above .2: 1 of 3 runs, tasks: b"
