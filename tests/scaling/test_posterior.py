"""What pilots say of a long training: trainings on basins whose best LR is known."""

import numpy as np
import pytest

from lr_search import LRPrior
from lr_search.errors import InvalidInputError
from lr_search.scaling.pilot_lrs import first_pilot_lrs, next_pilot_lr
from lr_search.scaling.posterior import Pilot, transfer_posterior
from lr_search.scaling.transfer_constants import transfer_constants

PRIOR = LRPrior(1e-5, 10.0, 1e-2, 0.5, skew=0.4)
UNTRAINED = 2.3


def basin(lr, best, steps=200):
    """A training whose loss is a parabola in log LR, and which diverges a decade above its best."""
    away = np.log10(lr / best)
    return Pilot(lr, float(0.5 + 0.4 * away**2), steps, bool(away > 1))


def told(best, lrs=(3e-3, 1e-2, 3e-2), steps=200, **options):
    pilots = [basin(lr, best, steps) for lr in lrs]
    given = {"num_steps": 3200, "schedule": "cosine", "prior": PRIOR, "untrained": UNTRAINED} | options
    return transfer_posterior(pilots, **given)


def drift(schedule="cosine", num_steps=3200, pilot_steps=200, steps_per_epoch=None):
    return transfer_constants().drift(schedule).decades(num_steps, pilot_steps, steps_per_epoch)


@pytest.mark.parametrize("best", [4e-3, 1e-2, 2.5e-2])
def test_the_best_lr_of_the_pilots_moved_is_told(best):
    found = told(best)
    assert abs(np.log10(found.lr) - np.log10(best) - drift()) < 0.25
    assert found.interval[0] < best * 10 ** drift() < found.interval[1]


def test_more_pilots_make_it_surer():
    few, many = told(1e-2), told(1e-2, lrs=np.geomspace(2e-3, 5e-2, 7).tolist())
    assert many.log10_std < few.log10_std < transfer_posterior(
        [], num_steps=3200, schedule="cosine", prior=PRIOR
    ).log10_std  # fmt: skip


def test_the_longer_the_way_the_wider_the_interval():
    near, far = told(1e-2, num_steps=400), told(1e-2, num_steps=20_000)
    assert np.log10(near.interval[1] / near.interval[0]) < np.log10(far.interval[1] / far.interval[0])


def test_without_pilots_the_prior_is_told():
    found = transfer_posterior([], num_steps=3200, schedule="cosine", prior=PRIOR)
    low, high = PRIOR.ppf([0.1, 0.9])
    assert np.log10(found.interval) == pytest.approx(np.log10([low, high]), abs=0.1)
    assert abs(np.log10(found.lr / PRIOR.mode)) < 0.25


def test_data_that_are_repeated_move_the_best_lr_down():
    assert told(1e-2, steps_per_epoch=32).lr < told(1e-2, steps_per_epoch=3200).lr


@pytest.mark.parametrize(
    ("steps_per_epoch", "decades"),
    [
        (3200, 0.0),
        (320, np.log10(10 / 3)),
        (32, np.log10(100 / 6.25)),
        (1, np.log10(100 / 100)),
        (8, np.log10(100 / 25)),
    ],
)
def test_passes_count_from_the_third_to_the_hundredth(steps_per_epoch, decades):
    constants = transfer_constants().drifts["cosine"]
    expected = constants.exponent * np.log10(16) + constants.repeated * decades
    assert drift(steps_per_epoch=steps_per_epoch) == pytest.approx(expected)
    assert drift() == pytest.approx(constants.alone * np.log10(16))


def test_the_shares_add_up_and_the_lr_is_the_lowest_of_the_expected_regrets():
    found = told(1e-2)
    assert found.density.sum() == pytest.approx(1.0)
    assert np.log10(found.lr) == pytest.approx(found.places[int(found.regrets.argmin())])
    spread = np.sqrt(found.density @ (found.places - np.log10(found.lr)) ** 2)
    assert found.log10_std == pytest.approx(spread)


def test_two_lengths_count_both():
    short, long = [basin(lr, 2e-2) for lr in (3e-3, 1e-2, 3e-2)], [basin(lr, 5e-3, 800) for lr in (3e-3, 1e-2, 3e-2)]
    options = {"num_steps": 3200, "schedule": "cosine", "prior": PRIOR, "untrained": UNTRAINED}
    one, other, both = (transfer_posterior(p, **options).lr for p in (short, long, [*short, *long]))
    assert min(one, other) <= both <= max(one, other)


def test_longer_pilots_count_for_more_than_shorter_ones():
    short, long = [basin(lr, 5e-2) for lr in (1e-2, 3e-2, 1e-1)], [basin(lr, 5e-3, 800) for lr in (1e-3, 3e-3, 1e-2)]
    options = {"num_steps": 3200, "schedule": "cosine", "prior": PRIOR, "untrained": UNTRAINED}
    one, other, both = (np.log10(transfer_posterior(p, **options).lr) for p in (short, long, [*short, *long]))
    assert abs(both - other) < 0.35 * abs(one - other)


def test_pilots_that_diverged_say_that_the_lr_lies_below():
    lrs = (3e-3, 1e-2, 3e-2)
    found = transfer_posterior(
        [Pilot(lr, np.nan, 200, diverged=True) for lr in lrs],
        num_steps=3200, schedule="constant", prior=PRIOR, untrained=UNTRAINED,
    )  # fmt: skip
    assert found.lr < min(lrs)
    assert found.interval[1] <= min(lrs) * 1.001
    assert "all_diverged" in found.remarks


@pytest.mark.parametrize(
    ("objectives", "remark"),
    [((2.3, 2.3, 2.3), "learns_nothing"), ((2.0, 1.5, 1.0), "highest_is_best"), ((1.0, 1.5, 2.0), "lowest_is_best")],
)
def test_what_makes_it_doubtful_is_said(objectives, remark):
    pilots = [Pilot(lr, value, 200) for lr, value in zip((3e-3, 1e-2, 3e-2), objectives, strict=True)]
    found = transfer_posterior(pilots, num_steps=3200, schedule="cosine", prior=PRIOR, untrained=UNTRAINED)
    clean = told(1e-2)
    assert remark in found.remarks
    assert clean.remarks == ()
    assert found.log10_std > clean.log10_std


@pytest.mark.parametrize(("gained", "said"), [(0.04, True), (0.06, False)])
def test_longest_pilots_that_gain_little_of_the_objective_are_said(gained, said):
    def rung(steps, gained):
        return [
            Pilot(lr, UNTRAINED * (1 - part * gained), steps) for lr, part in ((3e-3, 0.6), (1e-2, 1.0), (3e-2, 0.7))
        ]

    given = {"num_steps": 3200, "schedule": "cosine", "prior": PRIOR, "untrained": UNTRAINED}
    for pilots in (rung(200, gained), [*rung(200, 0.01), *rung(800, gained)]):
        assert ("learns_little" in transfer_posterior(pilots, **given).remarks) == said


def test_what_the_longest_pilots_tell_the_shorter_ones_make_no_doubt_of():
    at_edge = [Pilot(lr, value, 200) for lr, value in ((3e-3, 2.0), (1e-2, 1.5), (3e-2, 1.0))]
    given = {"num_steps": 3200, "schedule": "cosine", "prior": PRIOR, "untrained": UNTRAINED}
    assert transfer_posterior(at_edge, **given).remarks == ("highest_is_best",)
    assert transfer_posterior([*at_edge, *[basin(lr, 1e-2, 800) for lr in (3e-3, 1e-2, 3e-2)]], **given).remarks == ()
    assert transfer_posterior([*at_edge, *[basin(lr, 1e-2, 800) for lr in (5e-3, 2e-2)]], **given).remarks == ()


def test_an_lr_at_the_end_of_the_range_is_said():
    prior = LRPrior(1e-3, 3e-2, 2e-2, 0.3)
    pilots = [basin(lr, 0.2) for lr in (3e-3, 1e-2, 3e-2)]
    found = transfer_posterior(pilots, num_steps=400, schedule="wsd", prior=prior, untrained=UNTRAINED)
    assert "edge_of_range" in found.remarks
    assert found.lr <= prior.high


def test_a_schedule_that_was_not_measured_is_said_and_less_certain():
    one, other = told(1e-2), told(1e-2, schedule="triangular")
    assert other.remarks == ("schedule_not_measured",)
    assert other.log10_std > one.log10_std


def test_an_untrained_objective_that_is_not_known_costs_certainty_not_the_answer():
    known, unknown = told(1e-2), told(1e-2, untrained=None)
    assert abs(np.log10(unknown.lr / known.lr)) < 0.2


def test_the_scale_of_the_objective_does_not_matter():
    pilots = [basin(lr, 1e-2) for lr in (3e-3, 1e-2, 3e-2)]
    larger = [Pilot(p.lr, 1000 * p.objective, p.num_steps) for p in pilots]
    options = {"num_steps": 3200, "schedule": "cosine", "prior": PRIOR}
    one = transfer_posterior(pilots, untrained=UNTRAINED, **options)
    other = transfer_posterior(larger, untrained=1000 * UNTRAINED, **options)
    assert other.lr == pytest.approx(one.lr)
    assert other.density == pytest.approx(one.density, abs=1e-6)


def test_a_pilot_longer_than_the_training_is_refused():
    with pytest.raises(InvalidInputError, match="no longer than the training, but got pilot=200, num_steps=100"):
        told(1e-2, num_steps=100)


def test_an_objective_that_is_not_finite_is_refused_unless_it_diverged():
    with pytest.raises(InvalidInputError, match="must be finite, but got objective=nan"):
        transfer_posterior([Pilot(0.1, np.nan, 10)], num_steps=100, schedule="cosine", prior=PRIOR)


# ---- where pilots go ----


LENGTH = {"schedule": "cosine", "num_steps": 3200, "pilot_steps": 200}


def test_the_first_go_around_the_prior_s_mode_at_their_length():
    middle = PRIOR.mode / 10 ** drift()
    assert first_pilot_lrs(PRIOR, **LENGTH) == pytest.approx([middle, middle / 10**0.5, middle * 10**0.5])
    assert next_pilot_lr([], PRIOR, **LENGTH) == pytest.approx(middle)


def test_after_shorter_pilots_a_pair_goes_around_where_they_point():
    middle = PRIOR.mode / 10 ** drift()
    assert first_pilot_lrs(PRIOR, **LENGTH, narrowed=True) == pytest.approx([middle / 10**0.3, middle * 10**0.3])


def test_the_first_stay_in_the_range():
    prior = LRPrior(1e-3, 2e-2, 1.9e-2, 0.5)
    lrs = first_pilot_lrs(prior, **LENGTH)
    assert max(lrs) == pytest.approx(prior.high)
    assert np.diff(np.log10(sorted(lrs))) == pytest.approx([0.5, 0.5])


def test_where_the_range_ends_the_next_goes_inward():
    prior = LRPrior(1e-3, 2e-2, 1.9e-2, 0.5)
    pilots = [basin(lr, 1.0) for lr in (2e-3, 6e-3, 2e-2)]
    assert next_pilot_lr(pilots, prior, **LENGTH) == pytest.approx(np.sqrt(6e-3 * 2e-2))


@pytest.mark.parametrize("best", [1e-3, 1e-2, 1e-1])
def test_one_after_the_other_they_enclose_the_best(best):
    pilots = []
    for _ in range(7):
        pilots.append(basin(next_pilot_lr(pilots, PRIOR, **LENGTH), best))
    lrs = sorted(p.lr for p in pilots)
    winner = min((p for p in pilots if not p.diverged), key=lambda p: p.objective)
    assert lrs[0] < winner.lr < lrs[-1]
    assert abs(np.log10(winner.lr / best)) < 0.3


def test_after_a_divergence_the_next_goes_down():
    lr = next_pilot_lr([Pilot(1e-2, np.nan, 200, diverged=True)], PRIOR, **LENGTH)
    assert lr < 1e-2


def test_pilots_of_another_length_are_not_looked_at():
    other = [basin(lr, 1e-4, 400) for lr in (1e-3, 1e-2)]
    assert next_pilot_lr(other, PRIOR, **LENGTH) == next_pilot_lr([], PRIOR, **LENGTH)
