"""Our samplers, beside the contract (test_conformance.py): the n-th point is that of `point`. Then what is particular to each."""

import json
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution

from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError
from lr_search.samplers import FixedSampler, GridSampler, PointSampler, ProbeSampler, RandomSampler, RangeTestSampler
from lr_search.samplers.range_test_sampler import PRIOR_POINTS

LOW, HIGH = 1e-5, 10.0
RANGE = FloatDistribution(LOW, HIGH, log=True)
PRIOR = LRPrior(low=LOW, high=HIGH, mode=0.02, log10_std=0.6)
SAMPLERS: dict[str, Callable[[int], PointSampler]] = {
    "grid": lambda seed: GridSampler(num_points=8, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "range_test": lambda seed: RangeTestSampler(PRIOR, seed=seed),
    "probe": lambda seed: ProbeSampler(0.5, seed=seed),
    "probe without a usable LR": lambda seed: ProbeSampler(None, seed=seed),
    "fixed": lambda seed: FixedSampler(0.3, seed=seed),
}
# what a trial of the contract suggests: the LR, and every other kind of parameter beside it
OTHERS = ("width", "layers", "batch", "kind", "dropout", "decay")


def suggested(trial: optuna.Trial) -> tuple[float | int | str, ...]:
    return (
        trial.suggest_float("lr", LOW, HIGH, log=True),
        trial.suggest_int("width", 1, 1000, log=True),
        trial.suggest_int("layers", 1, 4),
        trial.suggest_int("batch", 0, 10, step=5),
        trial.suggest_categorical("kind", ["relu", "gelu", "tanh"]),
        trial.suggest_float("dropout", 0.0, 0.5, step=0.25),
        trial.suggest_float("decay", 0.0, 0.1),
    )


def asked(sampler: optuna.samplers.BaseSampler, count: int) -> list[tuple]:
    study = optuna.create_study(sampler=sampler)
    rows = []
    for _ in range(count):
        trial = study.ask()
        rows.append(suggested(trial))
        study.tell(trial, 1.0)
    return rows


def lrs_of(sampler: PointSampler, count: int, distribution: FloatDistribution = RANGE) -> np.ndarray:
    return np.array([sampler.point(number, sampler.params[0], distribution) for number in range(count)])


def share_of(lrs: np.ndarray, low: float = LOW, high: float = HIGH) -> np.ndarray:
    """How far up the range each LR lies, in log LR."""
    return (np.log(lrs) - math.log(low)) / (math.log(high) - math.log(low))


def mirrored_bits(number: int, width: int) -> int:
    return int(format(number, f"0{width}b")[::-1], 2)


@pytest.fixture(params=SAMPLERS)
def make(request: pytest.FixtureRequest) -> Callable[[int], PointSampler]:
    return SAMPLERS[request.param]


def test_the_lr_is_the_point_of_the_trial_s_number(make: Callable[[int], PointSampler]) -> None:
    count = PRIOR_POINTS if isinstance(make(5), RangeTestSampler) else 12  # the later ones depend on results
    assert [row[0] for row in asked(make(5), count)] == lrs_of(make(5), count).tolist()


def test_another_seed_gives_other_points(make: Callable[[int], PointSampler]) -> None:
    assert asked(make(1), 12) != asked(make(2), 12)


def test_threads_repeat_no_point(make: Callable[[int], PointSampler]) -> None:
    study = optuna.create_study(sampler=make(4))
    study.optimize(lambda trial: float(len(suggested(trial))), n_trials=24, n_jobs=2)
    got = sorted(tuple(trial.params[name] for name in ("lr", *OTHERS)) for trial in study.trials)
    if isinstance(make(4), RangeTestSampler):  # the later ones depend on the results that are there
        assert len({row[0] for row in got}) == 24
    else:
        assert got == sorted(asked(make(4), 24))


@pytest.mark.processes
def test_another_process_gives_the_same_points() -> None:
    code = f"""
import json, optuna
from lr_search.curves.prior import LRPrior
from lr_search.samplers import FixedSampler, GridSampler, ProbeSampler, RandomSampler, RangeTestSampler
prior = LRPrior(low={LOW}, high={HIGH}, mode=0.02, log10_std=0.6)
samplers = [GridSampler(num_points=8, seed=9), RandomSampler(seed=9), RangeTestSampler(prior, seed=9)]
samplers += [ProbeSampler(0.5, seed=9), ProbeSampler(None, seed=9), FixedSampler(0.3)]
distribution = optuna.distributions.FloatDistribution({LOW}, {HIGH}, log=True)
print(json.dumps([[sampler.point(n, 'lr', distribution) for n in range(20)] for sampler in samplers]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [lrs_of(make(9), 20).tolist() for make in SAMPLERS.values()]


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "seed must be a whole number, at least 0, but got -1"),
        (1.5, "seed must be a whole number, at least 0, but got 1.5"),
        ("0", "seed must be a whole number, at least 0, but got '0'"),
        (None, "seed must be a whole number, at least 0, but got None"),
    ],
)
def test_a_seed_that_is_no_whole_number_from_0_on_is_an_error(
    make: Callable[[int], PointSampler], seed: object, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make(seed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def many_rows() -> list[tuple]:
    return asked(FixedSampler(0.3, seed=0), 1000)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("layers", [1, 2, 3, 4]),
        ("batch", [0, 5, 10]),
        ("kind", ["relu", "gelu", "tanh"]),
        ("dropout", [0.0, 0.25, 0.5]),
    ],
)
def test_other_parameters_take_each_of_their_values_equally_often(
    many_rows: list[tuple], name: str, values: list[object]
) -> None:
    got = [row[1 + OTHERS.index(name)] for row in many_rows]
    share = 1 / len(values)
    five_sigma = 5 * math.sqrt(share * (1 - share) / len(got))
    for value in values:
        assert abs(got.count(value) / len(got) - share) < five_sigma, value


def test_the_lr_can_have_another_name() -> None:
    sampler = GridSampler(num_points=4, param="eta", seed=0)
    study = optuna.create_study(sampler=sampler)
    got = [study.ask().suggest_float("eta", LOW, HIGH, log=True) for _ in range(4)]
    assert got == lrs_of(GridSampler(num_points=4, seed=0), 4).tolist()


# --- grid


@pytest.mark.parametrize("num_points", [1, 2, 5, 8, 12, 16])
def test_a_grid_is_equal_log_steps_with_one_phase(num_points: int) -> None:
    for seed in range(20):
        shares = np.sort(share_of(lrs_of(GridSampler(num_points=num_points, seed=seed), num_points)))
        np.testing.assert_allclose(np.diff(shares), 1 / num_points, rtol=1e-9)
        assert 0 <= shares[0] < 1 / num_points


def test_the_phase_of_a_grid_is_uniform_over_seeds() -> None:
    phases = np.sort([share_of(lrs_of(GridSampler(num_points=8, seed=seed), 1))[0] * 8 for seed in range(400)])
    assert np.abs(phases - (np.arange(400) + 0.5) / 400).max() < 1.63 / math.sqrt(400)  # Kolmogorov-Smirnov, 1 %


def test_a_grid_of_8_is_visited_in_bit_reversed_order() -> None:
    for seed in range(10):
        shares = share_of(lrs_of(GridSampler(num_points=8, seed=seed), 16))
        assert np.floor(shares * 8).astype(int).tolist() == [0, 4, 2, 6, 1, 5, 3, 7] * 2


@pytest.mark.parametrize("num_points", [3, 5, 6, 11, 16, 23])
def test_a_grid_of_any_size_is_visited_in_bit_reversed_order(num_points: int) -> None:
    width = math.ceil(math.log2(num_points))
    order = [place for place in (mirrored_bits(i, width) for i in range(2**width)) if place < num_points]
    shares = share_of(lrs_of(GridSampler(num_points=num_points, seed=1), num_points))
    assert np.floor(shares * num_points).astype(int).tolist() == order


def test_later_laps_of_a_grid_lie_between_the_earlier_and_repeat_none() -> None:
    for laps in (1, 2, 4, 8):
        shares = np.sort(share_of(lrs_of(GridSampler(num_points=8, seed=2), 8 * laps)))
        np.testing.assert_allclose(np.diff(shares), 1 / (8 * laps), rtol=1e-6)
    assert len(set(lrs_of(GridSampler(num_points=8, seed=2), 500).tolist())) == 500


def test_a_grid_can_be_over_choices() -> None:
    study = optuna.create_study(sampler=GridSampler(num_points=3, seed=0))
    choices = [1e-3, 1e-2, 1e-1]
    assert sorted(study.ask().suggest_categorical("lr", choices) for _ in range(3)) == choices


def test_a_grid_without_points_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"num_points must be from 1 to 100,000, but got num_points=0\."):
        GridSampler(num_points=0)


# --- random


@pytest.mark.parametrize("seed", range(5))
def test_random_points_are_log_uniform(seed: int) -> None:
    shares = np.sort(share_of(lrs_of(RandomSampler(seed=seed), 1000)))
    above = np.arange(1, 1001) / 1000 - shares
    below = shares - np.arange(1000) / 1000
    assert max(above.max(), below.max()) < 1.63 / math.sqrt(1000)  # Kolmogorov-Smirnov, 1 %


def test_random_points_are_independent_from_trial_to_trial_seed_to_seed_and_name_to_name() -> None:
    one, other = (share_of(lrs_of(RandomSampler(seed=seed), 1000)) for seed in (0, 1))
    named = share_of(lrs_of(RandomSampler(seed=0, param="eta"), 1000))
    for a, b in ((one[1:], one[:-1]), (one, other), (one, named)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(1000)


# --- range test


def test_a_range_test_s_mode_comes_first_then_above_and_below_then_quantiles_from_coarse_to_fine() -> None:
    lrs = lrs_of(RangeTestSampler(PRIOR), 15)
    np.testing.assert_allclose(lrs[:3], [0.02, 0.02 * 10**0.6, 0.02 / 10**0.6])
    # the mode stands for the middle, the two beside it for the outer eighths: what is left of the quarters and eighths, then
    # sixteenths in bit-reversed order
    coarse = [1 / 4, 5 / 8, 3 / 8, 3 / 4]
    sixteenths = [(2 * mirrored_bits(i, 3) + 1) / 16 for i in range(8)]
    np.testing.assert_allclose(PRIOR.cdf(lrs[3:]), coarse + sixteenths, atol=1e-9)


def test_a_range_test_s_later_points_cover_the_prior_evenly() -> None:
    for level in (3, 4, 6):
        count = 2**level
        shares = np.sort(PRIOR.cdf(lrs_of(RangeTestSampler(PRIOR), count - 1)[3:]))
        even = np.delete(np.arange(1, count) / count, [count // 8 - 1, count // 2 - 1, 7 * count // 8 - 1])
        np.testing.assert_allclose(shares, even, atol=1e-9)


def test_where_the_points_beside_the_mode_lie_outside_the_range_outer_quantiles_stand_for_them() -> None:
    narrow = FloatDistribution(0.01, 0.05, log=True)
    lrs = lrs_of(RangeTestSampler(PRIOR), 3, narrow)
    below, above = PRIOR.cdf([narrow.low, narrow.high])
    np.testing.assert_allclose((PRIOR.cdf(lrs[1:]) - below) / (above - below), [7 / 8, 1 / 8], atol=1e-9)


def test_a_range_test_s_points_are_cut_to_the_parameter_s_range() -> None:
    narrow = FloatDistribution(1e-3, 1.0, log=True)
    lrs = lrs_of(RangeTestSampler(PRIOR), 63, narrow)
    assert lrs[0] == PRIOR.mode
    assert ((lrs >= narrow.low) & (lrs <= narrow.high)).all()
    below, above = PRIOR.cdf([narrow.low, narrow.high])
    shares = np.sort((PRIOR.cdf(lrs[3:]) - below) / (above - below))
    np.testing.assert_allclose(shares, np.delete(np.arange(1, 64) / 64, [7, 31, 55]), atol=1e-9)


def test_a_mode_outside_the_parameter_s_range_becomes_its_nearest_end() -> None:
    assert RangeTestSampler(PRIOR).point(0, "lr", FloatDistribution(0.1, 1.0, log=True)) == 0.1
    assert RangeTestSampler(PRIOR).point(0, "lr", FloatDistribution(1e-4, 1e-3, log=True)) == 1e-3


def test_a_parameter_whose_range_misses_the_prior_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"overlap the prior's, 1e-05 to 10, but got low=20\.0, high=30\.0"):
        RangeTestSampler(PRIOR).point(1, "lr", FloatDistribution(20.0, 30.0, log=True))


@pytest.mark.parametrize(
    "suggest",
    [
        lambda trial: trial.suggest_float("lr", LOW, HIGH),
        lambda trial: trial.suggest_int("lr", 1, 10, log=True),
        lambda trial: trial.suggest_categorical("lr", [0.1, 0.2]),
    ],
    ids=["not log", "int", "categorical"],
)
def test_a_range_test_s_lr_must_be_a_log_scaled_float(suggest: Callable[[optuna.Trial], object]) -> None:
    trial = optuna.create_study(sampler=RangeTestSampler(PRIOR)).ask()
    with pytest.raises(InvalidInputError, match=r"'lr' must be a log-scaled float, but got .*log=True"):
        suggest(trial)


# --- fixed


def test_a_fixed_sampler_s_lr_never_changes() -> None:
    assert lrs_of(FixedSampler(3e-4, seed=0), 5).tolist() == [3e-4] * 5


@pytest.mark.parametrize("lr", [0.0, -0.1, math.inf])
def test_a_fixed_lr_that_is_not_positive_and_finite_is_an_error(lr: float) -> None:
    with pytest.raises(InvalidInputError, match=f"lr must be positive and finite, but got lr={lr}"):
        FixedSampler(lr)
