"""Which steps the gain ratio is measured at: few where it stays at 1, each where it falls; and that no answer hangs on it."""

import numpy as np
import pytest
import torch

import lr_search as lrs
from lr_search.curves.gain_crossing import gain_crossing
from lr_search.ramp.measured_steps import steps_to_measure

LRS = (1e-3 * 10 ** (0.045 * np.arange(10))).tolist()  # five steps of .045 decades lie within a quarter of a decade


def rows(*ratios, predicted=0.1, loss=2.0):
    """Steps that were promised so much, and kept so large a share of it; None: not measured."""
    after = [np.nan if ratio is None else loss - ratio * predicted for ratio in ratios]
    return np.array([[loss, each, predicted, 1.0, 1.0, 1.0] for each in after])


def measured(latest, first=20, rounding=1e-6):
    at = [LRS[0]] * len(latest)
    return np.flatnonzero(steps_to_measure(LRS, first, at, latest, rounding)).tolist()


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ((), [0, 5]),
        ((1.0, None, None), [0, 5]),
        ((1.0, 0.999), [0, 5]),
        ((0.997, 0.997), [1, 4, 7]),  # every third, of all steps: step 21 is one
        ((1.0045, 0.9955), [0, 2, 4, 6, 8]),
        ((0.9, None), list(range(10))),
        ((1.2,), list(range(10))),  # momentum keeps more than it promises before the fall
        ((0.99, 1.01), list(range(10))),
        ((-3.0,), list(range(10))),
        ((-np.inf, 1.0), [0, 5]),  # as a loss that is not finite
        ((None, None), [0, 5]),
    ],
)
def test_the_further_the_ratio_lies_from_1_the_more_steps_are_measured(ratios, expected):
    assert measured(rows(*ratios) if ratios else np.empty((0, 6))) == expected


def test_what_will_drown_in_the_rounding_of_the_loss_is_not_measured():
    tiny = rows(1.0, predicted=1e-6)  # rounding: 2e-6, so that twice the LR is needed, .3 decades more
    assert measured(tiny) == []
    assert measured(rows(0.5, predicted=1e-6), rounding=0.25e-6) == list(range(10))
    assert measured(tiny, first=22) == [8]
    assert measured(rows(1.0, predicted=np.nan)) == [0, 5]


def test_steps_wider_than_a_quarter_of_a_decade_are_all_measured():
    assert steps_to_measure([1e-3, 2e-3, 4e-3], 0, [], np.empty((0, 6)), 0.0).all()
    assert steps_to_measure([1e-3], 0, [], np.empty((0, 6)), 0.0).all()


@pytest.fixture
def ran(examples, cross_entropy, dropout_net):
    def run(**options):
        torch.manual_seed(0)
        model, (inputs, classes) = dropout_net(), examples
        batches = [(inputs[at : at + 20], classes[at : at + 20]) for at in (0, 20, 40)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return lrs.range_test(model, optimizer, batches, cross_entropy, **options)

    return run


def test_nothing_but_the_measure_itself_is_left_out(ran):
    every, some = ran(gain_ratio=True, end_lr=0.3), ran(end_lr=0.3)
    assert every.stopped == "finished"
    kept = np.isfinite(some.metrics["reduction"])
    assert kept[0]
    assert kept.mean() < 0.7
    assert some.loss.tolist() == every.loss.tolist()
    for name in ("predicted_reduction", "relative_update", "rms_update", "gradient_norm"):
        assert some.metrics[name].tolist() == every.metrics[name].tolist()
    assert some.metrics["reduction"][kept].tolist() == every.metrics["reduction"][kept].tolist()
    assert np.isnan(some.gain_ratio[~kept]).all()
    assert some.num_forwards == kept.sum() + 1  # one more for whether the loss can be evaluated again
    assert every.num_forwards == len(every.lr) + 1


def test_where_the_ratio_falls_each_step_is_measured_and_the_answers_stay(ran):
    every, some = ran(gain_ratio=True), ran()
    half = int(np.searchsorted(every.lr, gain_crossing(every, 0.5)))
    assert np.isfinite(some.gain_ratio[half - 8 : half + 4]).all()
    for rule in ("calibrated", "gain_ratio"):
        assert np.log10(some.suggest(rule).lr / every.suggest(rule).lr) == pytest.approx(0, abs=0.02)
    assert some.suggest().status == every.suggest().status


def test_on_a_linear_ramp_each_step_is_measured(ran):
    curve = ran(start_lr=0.001, end_lr=0.02, num_steps=40, ramp="linear")
    assert np.isfinite(curve.gain_ratio).all()
    assert curve.num_forwards == 41
