"""Pooled curves: what numpy says of the members, members of different lengths, what is refused, and what it is good for."""

import json

import numpy as np
import pytest

from lr_search import LRPrior
from lr_search.curves.curve import LRCurve
from lr_search.curves.pooling import pool, spread
from lr_search.errors import InvalidInputError

LR = np.geomspace(1e-5, 1, 40)


def member(seed: int, length: int = 40, **changes) -> LRCurve:
    random = np.random.default_rng(seed)
    settings = {
        "lr": LR[:length],
        "loss": random.normal(2.3, 0.1, length),
        "gain_ratio": random.random(length),
        "metrics": {"valid_accuracy": random.random(length), "rms_update": random.random(length)},
        "optimizer": {"scaling": 1.0, "gain": 1.0, "fade": 0.0},
    }
    return LRCurve(**(settings | changes))


def descending(seed: int, depth: float = 1.5) -> LRCurve:
    lr = np.logspace(-6, 1, 141)
    loss = 2.3 - depth / (1 + (0.01 / lr) ** 2) + np.minimum((lr / 0.5) ** 3, 9)
    return LRCurve(lr, loss + 0.02 * np.random.default_rng(seed).standard_normal(141))


def test_the_loss_is_the_mean_and_the_spread_the_standard_deviation() -> None:
    members = [member(seed) for seed in range(5)]
    pooled = pool(members)
    losses = np.array([each.loss for each in members])
    np.testing.assert_allclose(pooled.loss, losses.sum(axis=0) / 5, rtol=1e-14)
    np.testing.assert_allclose(pooled.spread, np.sqrt(((losses - losses.mean(axis=0)) ** 2).mean(axis=0)), rtol=1e-12)
    np.testing.assert_array_equal(pooled.lr, LR)
    assert pooled.members == tuple(members)


def test_gain_ratio_and_metrics_are_means_of_the_numbers_that_are_there() -> None:
    one, other, third = (member(seed) for seed in range(3))
    one.gain_ratio[3] = one.metrics["rms_update"][5] = np.nan
    other.gain_ratio[3] = np.nan
    other.metrics["rms_update"][5] = np.inf
    for each in (one, other, third):
        each.gain_ratio[7] = np.nan
    pooled = pool([one, other, third])
    assert pooled.gain_ratio[3] == third.gain_ratio[3]
    assert np.isnan(pooled.gain_ratio[7])
    assert pooled.gain_ratio[4] == pytest.approx((one.gain_ratio[4] + other.gain_ratio[4] + third.gain_ratio[4]) / 3)
    assert pooled.metrics["rms_update"][5] == third.metrics["rms_update"][5]
    for name in ("valid_accuracy", "rms_update"):
        expected = (one.metrics[name][9] + other.metrics[name][9] + third.metrics[name][9]) / 3
        assert pooled.metrics[name][9] == pytest.approx(expected)


def test_what_not_every_member_has_is_left_out() -> None:
    pooled = pool([member(0), member(1, gain_ratio=None, metrics={"valid_accuracy": np.ones(40), "mine": np.ones(40)})])
    assert pooled.gain_ratio is None
    assert list(pooled.metrics) == ["valid_accuracy"]


@pytest.mark.parametrize(
    ("lengths", "steps"),
    [
        ((40, 40), 40),
        ((30, 40), 40),  # one of two is half
        ((30, 35, 40), 35),
        ((20, 30, 35, 40), 35),
        ((5, 40, 40, 40), 40),
        ((5, 5, 5, 40), 5),
        ((1, 2, 3), 2),
        ((7,), 7),
    ],
)
def test_it_goes_on_while_half_of_the_members_do(lengths: tuple[int, ...], steps: int) -> None:
    members = [member(seed, length) for seed, length in enumerate(lengths)]
    pooled = pool(members)
    assert len(pooled.lr) == steps
    assert 2 * sum(length >= steps for length in lengths) >= len(lengths)
    for step in range(steps):
        running = [each.loss[step] for each in members if len(each.loss) > step]
        assert pooled.loss[step] == pytest.approx(np.mean(running))
        assert pooled.spread[step] == pytest.approx(np.std(running) if len(members) > 1 else 0.0, abs=1e-15)


def test_a_member_that_ended_earlier_stays_whole() -> None:
    short, long = member(0, 12), member(1)
    assert [len(each.lr) for each in pool([long, long, short]).members] == [40, 40, 12]
    assert [len(each.lr) for each in pool([short, short, long]).members] == [12, 12, 40]  # longer than the pooled


def test_steps_and_forwards_are_sums_and_it_stopped_as_most_did() -> None:
    members = [
        member(0, num_steps=50, num_forwards=40.0, stopped="diverged"),
        member(1, num_steps=41, num_forwards=10.5, stopped="non_finite"),
        member(2, num_forwards=0.0, stopped="diverged"),
    ]
    pooled = pool(members)
    assert (pooled.num_steps, pooled.num_forwards, pooled.stopped) == (50 + 41 + 40, 50.5, "diverged")
    assert pooled.steps_charged == (50 + 14) + (41 + 4) + 40  # 40 / 3 and 10.5 / 3, each rounded up
    assert pooled.optimizer == {"scaling": 1.0, "gain": 1.0, "fade": 0.0}


def test_pooled_curves_pool_into_their_members() -> None:
    members = [member(seed) for seed in range(4)]
    nested = pool([pool(members[:3]), members[3]])
    assert nested.members == tuple(members)
    np.testing.assert_array_equal(nested.loss, pool(members).loss)
    assert nested.num_steps == 160


def test_one_curve_pools_into_itself() -> None:
    alone = member(0)
    pooled = LRCurve.pool([alone])
    np.testing.assert_array_equal(pooled.loss, alone.loss)
    np.testing.assert_array_equal(pooled.gain_ratio, alone.gain_ratio)
    assert not spread(pooled).any()
    assert not spread(alone).any()


@pytest.mark.parametrize(
    "other",
    [
        member(1, lr=LR * 1.01),
        member(1, lr=np.geomspace(1e-5, 2, 40)),
        member(1, 20, lr=np.geomspace(1e-5, 1, 20)),  # the same ends, fewer steps
        member(1, lr=LR, ramp="linear"),
    ],
)
def test_curves_of_different_ramps_are_refused(other: LRCurve) -> None:
    for curves in ([member(0), other], [other, member(0)]):
        with pytest.raises(InvalidInputError, match="curves must be of the same ramp to be pooled"):
            pool(curves)


def test_lrs_that_differ_by_rounding_are_the_same_ramp() -> None:
    assert len(pool([member(0), member(1, lr=LR * (1 + 1e-12))]).members) == 2


def test_linear_ramps_pool_as_linear() -> None:
    lr = np.linspace(0, 1, 40)
    assert pool([member(seed, lr=lr, ramp="linear") for seed in range(2)]).ramp == "linear"


def test_no_curves_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="curves must hold at least one curve, but got 0"):
        pool([])


def test_json_takes_it_back_with_its_members(tmp_path) -> None:
    members = [member(0), member(1, 30, stopped="diverged"), member(2)]
    members[0].gain_ratio[3] = np.nan
    pooled = pool(members)
    pooled.save(tmp_path / "curve.json")
    loaded = LRCurve.load(tmp_path / "curve.json")
    text = json.dumps(pooled.to_json())
    assert json.dumps(loaded.to_json()) == text  # nan is not equal to itself, its text is
    assert [len(each.lr) for each in loaded.members] == [40, 30, 40]
    np.testing.assert_array_equal(loaded.spread, pooled.spread)
    assert loaded.steps_charged == pooled.steps_charged


def test_a_prior_can_be_made_of_it() -> None:
    members = [descending(seed) for seed in range(4)]
    pooled, apart = LRPrior.from_curves([pool(members)]), LRPrior.from_curves(members)
    assert np.log10(pooled.mode) == pytest.approx(np.log10(apart.mode), abs=1e-9)  # the mean of the same suggestions
    assert pooled.log10_std == pytest.approx(apart.log10_std, abs=0.1)


def test_pooling_takes_away_noise() -> None:
    single, pooled = descending(0), pool([descending(seed) for seed in range(9)])
    assert pooled.noise == pytest.approx(single.noise / 3, rel=0.5)


def test_a_range_test_of_three_seeds_is_the_three_pooled(make_workload) -> None:
    workload = make_workload()
    pooled = workload.range_test(seeds=3, num_steps=20, start_lr=1e-4)
    by_hand = pool([workload.range_test(seed, num_steps=20, start_lr=1e-4) for seed in range(3)])
    assert json.dumps(pooled.to_json()) == json.dumps(by_hand.to_json())
    assert len({each.loss[0] for each in pooled.members}) == 3
    chosen = workload.range_test(seeds=[2, 0], num_steps=20, start_lr=1e-4)
    assert [each.loss[0] for each in chosen.members] == [by_hand.members[2].loss[0], by_hand.members[0].loss[0]]
