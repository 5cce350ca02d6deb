"""Optimizers whose steps stop growing with the LR: the ramp never breaks, and is read where they stall."""

import numpy as np
import pytest

import lr_search as lrs
from lr_search.curves.calibrated import anchor
from lr_search.curves.curve import LRCurve
from lr_search.curves.gain_crossing import stalled_lr
from tests.helpers.workloads import line

LR = np.geomspace(1e-7, 1e3, 126)


NEARLY_ONE = np.full(len(LR), 0.8)


def stalling(at: float, ratio: np.ndarray = NEARLY_ONE, **changes) -> LRCurve:
    """Steps of a relative size of LR / 2 up to that LR, a gain ratio that never falls to 1/2, and a loss that falls by 1."""
    update = 0.5 * np.minimum(LR, at)
    fell = 1 / (1 + (at / 10 / LR) ** 2)
    metrics = {
        "relative_update": update,
        "rms_update": update,
        "predicted_reduction": update,
        "reduction": ratio * update,
    }
    given = {"gain_ratio": ratio, "metrics": metrics, **changes}
    return LRCurve(LR, 2 - fell, **{"optimizer": {"scaling": 0.0, "gain": 0.0, "fade": 0.0}, **given})


@pytest.mark.parametrize("at", [1e-3, 0.1, 3.0])
def test_it_is_read_where_they_stall(at: float) -> None:
    curve = stalling(at)
    assert stalled_lr(curve) == pytest.approx(at, rel=0.05)
    assert anchor(curve) == pytest.approx(np.log10(at), abs=0.03)
    assert curve.suggest().status == "ok"
    assert "takes no larger steps beyond" in curve.suggest().reason


def test_steps_that_grow_to_the_end_or_break_do_not_stall() -> None:
    grows = {**stalling(0.1).metrics, "relative_update": 0.5 * LR}
    assert stalled_lr(stalling(0.1, metrics=grows)) is None
    assert stalled_lr(stalling(0.1, stopped="diverged")) is None
    assert stalled_lr(stalling(0.1, metrics={}, gain_ratio=None)) is None
    for optimizer in ({"scaling": 1.0}, {}):  # whose steps shrink as the gradient does
        assert stalled_lr(stalling(0.1, optimizer=optimizer)) is None
    broken = np.where(LR < 0.05, 1.0, 0.0)
    assert stalled_lr(stalling(0.1, ratio=broken)) is None
    late = np.where(LR < 30.0, 1.0, 0.3)  # by chance, long after steps have stopped growing
    assert stalled_lr(stalling(0.1, ratio=late)) == pytest.approx(0.1, rel=0.05)


def test_a_real_ramp_of_adafactor_is_not_extended_for_ever() -> None:
    curve = line(optimizer=lrs.optimizers.by_name("adafactor")).range_test(num_steps=100)
    assert curve.suggest().status != "at_edge"
    assert curve.suggest().lr < 10
