"""The descending probe: its ladder, what it finds where the answer is known, its sampler, and its studies' charges."""

import contextlib
import json
import math
import re

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from optuna.distributions import FloatDistribution

import lr_search as lrs
from lr_search.curves.probe import Ladder, Probe, falls
from lr_search.errors import FingerprintError, InvalidInputError, WorkloadError
from lr_search.ramp.descending_probe import descending_probe
from lr_search.samplers import ProbeSampler, Strategy, strategies
from lr_search.studies.trial import Outcome, finding
from tests.helpers.bowl import bowl
from tests.helpers.workloads import line, squared_error

pytestmark = pytest.mark.usefixtures("quick_pictures")

TIMES = ["seconds", "started", "ended", "worker"]


# --- the ladder


def test_a_ladder_goes_down_from_the_top_by_its_factor_and_not_below_the_range():
    assert Ladder().lrs(1e-2, 10.0) == pytest.approx([10 / 10 ** (k / 2) for k in range(7)], rel=1e-12)
    assert Ladder(factor=10).lrs(0.02, 10.0) == pytest.approx([10, 1, 0.1])
    assert Ladder(factor=10).lrs(0.5, 1.0).tolist() == [1.0]
    assert Ladder().lrs(1e-5, 10.0).min() >= 1e-5
    assert len(Ladder().lrs(1e-5, 10.0)) == 13


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ladder(num_steps=3), "num_steps must be at least 4, but got num_steps=3."),
        (lambda: Ladder(num_steps=9.5), "num_steps must be a whole number, but got 9.5."),
        (lambda: Ladder(factor=1.0), "factor must be above 1, but got factor=1.0."),
        (lambda: Ladder().lrs(1.0, 0.1), "the range of the LR must be (low, high) with 0 < low < high, but got (1.0, 0.1)."),
        (lambda: descending_probe(bowl(), lr_range=(0.0, 1.0)), "the range of the LR must be (low, high)"),
        (lambda: ProbeSampler(0.0), "largest_lr must be positive and finite, or None, but got largest_lr=0.0."),
        (lambda: ProbeSampler(math.inf), "largest_lr must be positive and finite, or None, but got largest_lr=inf."),
        (
            lambda: Strategy("both", lambda search: ProbeSampler(1.0), needs_curves=True, probe=Ladder()),
            "a strategy takes range tests first, or a probe, not both, but got name='both'.",
        ),
    ],
)  # fmt: skip
def test_every_rule_says_what_it_is_and_what_came(make, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        make()


# --- what it finds


def quadratic(curvature, batches=(1.0, 1.0), **changes):
    """curvature / 2 * w^2 for each of the batches' scales; plain gradient descent falls below 2 / curvature."""
    return bowl(
        loss=lambda model, batch: curvature / 2 * (model(batch) ** 2).mean(),
        train_data=lambda: [torch.full((1,), x) for x in batches],
        **changes,
    )


@pytest.mark.parametrize("curvature", [0.03, 1.0, 3.0, 70.0])
@pytest.mark.parametrize("factor", [10.0, 10**0.5, 1.3])
def test_on_a_quadratic_it_finds_the_largest_of_the_ladder_below_two_over_the_curvature(curvature, factor):
    found = descending_probe(quadratic(curvature), lr_range=(1e-4, 190.0), ladder=Ladder(factor=factor))
    ladder = 190.0 / factor ** np.arange(100)
    assert found.largest_lr == pytest.approx(ladder[ladder < 2 / curvature][0])
    assert found.lr == pytest.approx(ladder[: len(found.lr)])
    assert found.steps_charged == 10 * (len(found.lr) + 1)


def test_its_losses_are_those_of_gradient_descent_from_the_same_weights():
    found = descending_probe(quadratic(1.0), 5, lr_range=(1e-3, 10.0))
    start = 1 + torch.rand((), generator=torch.Generator().manual_seed(5)).item()
    for lr, losses in zip(found.lr, found.loss, strict=True):
        assert losses == pytest.approx(0.5 * (start * (1 - lr) ** np.arange(10)) ** 2, rel=1e-4)
    assert found.untrained == pytest.approx([0.5 * start**2] * 10)


def test_batches_of_very_different_losses_do_not_hide_the_fall():
    scales = np.array([1.3, 0.1, 0.5, 0.02, 2.0])
    shrinking = [abs(np.prod(1 - lr * scales**2)) for lr in (1.0, 0.1)]  # the weight, over a pass
    assert shrinking[0] > 1 > shrinking[1]
    found = descending_probe(quadratic(1.0, scales), lr_range=(1e-3, 100.0), ladder=Ladder(factor=10))
    assert np.ptp(found.untrained) > 100 * found.untrained.min()
    assert found.largest_lr == pytest.approx(0.1)


def test_each_rung_starts_from_the_same_weights_and_sees_the_same_batches_and_masks(make_workload, cross_entropy):
    seen = []

    def loss(model, batch):
        seen.append((float(model[0].weight.detach().sum()), float(batch[0].sum())))
        return cross_entropy(model, batch)

    found = descending_probe(make_workload(loss=loss), lr_range=(10.0, 1e3), ladder=Ladder(num_steps=6, factor=10))
    rungs = np.array(seen).reshape(len(found.lr) + 1, 6, 2)
    assert (rungs[:, 0, 0] == rungs[0, 0, 0]).all()
    assert (rungs[:, :, 1] == rungs[0, :, 1]).all()
    assert (found.loss[:, 0] == found.untrained[0]).all()  # dropout draws the same masks


def test_it_leaves_the_global_generators_alone(make_workload, global_rng):
    before = global_rng()
    descending_probe(make_workload())
    assert global_rng() == before


def test_where_the_loss_falls_nowhere_there_is_none_and_it_says_so():
    found = descending_probe(quadratic(1.0), lr_range=(3.0, 300.0))
    assert found.largest_lr is None
    assert "falls at no learning rate from 300 to 3" in found.reason
    assert found.steps_charged == Ladder().most_steps(3.0, 300.0) == 10 * 6


def test_where_the_first_is_usable_it_says_that_a_larger_may_be():
    found = descending_probe(quadratic(1.0), lr_range=(1e-3, 1.5))
    assert (found.largest_lr, len(found.lr)) == (1.5, 1)
    assert "a larger one may be usable" in found.reason
    assert "not at" in descending_probe(quadratic(1.0), lr_range=(1e-3, 5.0)).reason


def test_a_loss_that_overflows_or_raises_on_what_is_not_finite_is_not_usable():
    def checked(model, batch):
        if not model(batch[:, :1]).isfinite().all():
            raise ValueError("not a number")
        return squared_error(model, batch)

    for loss in (checked, squared_error):
        found = descending_probe(line(loss=loss), lr_range=(1e-2, 1e30), ladder=Ladder(factor=1e16))
        assert np.isnan(found.loss[0, -1])
        assert np.isfinite(found.loss[:, 0]).all()
        assert found.largest_lr == pytest.approx(1e-2)


def test_an_exception_while_all_is_finite_is_the_users():
    def loss(model, batch):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        descending_probe(line(loss=loss))
    with pytest.raises(WorkloadError, match="The loss of the untrained weights must be finite"):
        descending_probe(line(loss=lambda model, batch: squared_error(model, batch) * math.nan))


def test_falls_asks_for_nearly_all_of_the_last_half_and_more_than_rounding():
    flat = np.ones(10)
    late = np.repeat([0.0, 1.0], 5)
    assert falls(flat - 0.1 * late, flat)
    assert not falls(flat + 0.1 * late, flat)
    assert not falls(flat - 0.1 * np.repeat([1.0, 0.0], 5), flat)  # back up again
    assert not falls(flat - 0.1 * late * [1, 1, 1, 1, 1, 1, 1, -1, 1, 1], flat)
    assert not falls(flat - 1e-7 * late, flat)
    assert not falls(np.where(np.arange(10) == 9, np.nan, flat - 0.1 * late), flat)
    assert falls(-flat - 0.1 * late, -flat)  # negative losses


def test_a_probe_survives_json_to_the_last_bit():
    found = descending_probe(line(), lr_range=(1e-2, 1e30), ladder=Ladder(factor=1e16))
    record = Outcome("finished", probe=found).record()
    again = finding(json.loads(json.dumps(record, allow_nan=False)))
    assert isinstance(again, Probe)
    for name in ("lr", "loss", "untrained"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert np.isnan(found.loss).any()
    with pytest.raises(InvalidInputError, match="a probe must have format 1, but got format=2"):
        Probe.from_json(found.to_json() | {"format": 2})


def test_its_frame_has_a_row_for_each_step():
    found = descending_probe(quadratic(1.0), lr_range=(1e-3, 5.0))
    frame = found.to_frame()
    assert frame.columns.tolist() == ["lr", "step", "loss", "untrained"]
    assert len(frame) == found.loss.size
    assert frame.groupby("lr", observed=True)["loss"].last()[found.lr[1]] == found.loss[1, -1]


# --- the sampler


def points(largest_lr, count, low=1e-5, high=10.0):
    sampler, distribution = ProbeSampler(largest_lr), FloatDistribution(low, high, log=True)
    return np.array([sampler.point(number, "lr", distribution) for number in range(count)])


def test_a_tenth_a_hundredth_and_between_come_first_then_outward():
    below = -np.log10(points(1.0, 11))
    assert below == pytest.approx([1, 2, 1.5, 0.5, 2.5, 0, 3, 3.5, 4, 4.5, 5], abs=1e-12)


@pytest.mark.parametrize("largest_lr", [10.0, 0.5, 1e-3, 2e-5, 30.0])
def test_points_stay_in_the_range_below_the_largest_and_none_comes_twice(largest_lr):
    lrs = points(largest_lr, 100)
    assert ((lrs >= 1e-5) & (lrs <= min(largest_lr, 10.0))).all()
    assert len(set(lrs.round(15))) == 100


def test_without_room_below_the_lowest_is_all_there_is():
    assert points(1e-5, 3).tolist() == points(1e-6, 3).tolist() == [1e-5] * 3


def test_without_a_usable_lr_the_points_cover_the_range_evenly():
    shares = np.sort(np.log10(points(None, 7) / 1e-5) / 6)
    assert shares == pytest.approx(np.arange(1, 8) / 8)


def test_its_lr_must_be_a_log_scaled_float():
    trial = optuna.create_study(sampler=ProbeSampler(0.1)).ask()
    with pytest.raises(InvalidInputError, match=r"'lr' must be a log-scaled float"):
        trial.suggest_float("lr", 1e-5, 1.0)


# --- the strategy


def compared(storage=None, **changes):
    settings = {
        "strategies": ["grid", "probe", "range_test"],
        "schedules": ["constant", "sgdr"],
        "lr_range": (1e-3, 10.0),
        "range_test": {"num_steps": 20, "gain_ratio": False},
        "budget": 6,
        "seeds": 2,
        "storage": storage,
        "name": "probed",
        "progress": False,
    } | changes
    return lrs.compare(settings.pop("workload", None) or line(), **settings)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('probe') / 'a.db'}"


@pytest.fixture(scope="module")
def comparison(stored):
    return compared(stored)


def test_its_trials_begin_a_tenth_and_a_hundredth_below_what_the_probe_finds(comparison):
    for seed in (0, 1):
        largest = descending_probe(line(), seed, lr_range=(1e-3, 10.0)).largest_lr
        assert 0.1 < largest < 3  # a line with inputs from -1 to 1 diverges from about 1.5 on
        here = comparison.trials.query(f"strategy == 'probe' and seed == {seed}")
        for _, trials in here.groupby("schedule", observed=True):
            assert trials["lr"].tolist()[:3] == pytest.approx([largest / 10, largest / 100, largest / 10**1.5])
            assert trials["lr"].is_unique


def test_the_probe_runs_once_and_is_charged_in_full_to_each_of_its_studies_only(comparison):
    for seed in (0, 1):
        steps = descending_probe(line(), seed, lr_range=(1e-3, 10.0)).steps_charged
        here = comparison.trials[comparison.trials["seed"] == seed]
        for schedule in ("constant", "sgdr"):
            mine = here[(here["strategy"] == "probe") & (here["schedule"] == schedule)]
            assert mine["steps_charged"].tolist() == [steps + 30 * (k + 1) for k in range(len(mine))]
            assert len(mine) == (6 * 30 - steps) // 30
        other = here[(here["strategy"] != "probe") & (here["number"] == 0)].set_index(["strategy", "schedule"])
        assert (other.loc["grid", "steps_charged"] == 30).all()
        ramp = len(comparison.curves[comparison.curves["seed"] == seed])
        assert (other.loc["range_test", "steps_charged"] <= 30 + 20).all()
        assert (other.loc["range_test", "steps_charged"] >= 30 + ramp).all()
    kinds = [record.kind for record in comparison.records]
    assert (kinds.count("probe"), kinds.count("range_test"), kinds.count("search")) == (2, 2, 12)


def test_the_summary_has_a_row_for_it_with_its_whole_cost(comparison):
    summary = comparison.summary(full=True)
    assert set(zip(summary["strategy"], summary["schedule"], strict=True)) == {
        (strategy, schedule) for strategy in ("grid", "probe", "range_test") for schedule in ("constant", "sgdr")
    }
    probes = [descending_probe(line(), seed, lr_range=(1e-3, 10.0)).steps_charged for seed in (0, 1)]
    expected = np.mean([steps + 30 * ((180 - steps) // 30) for steps in probes])
    mine = summary[summary["strategy"] == "probe"]
    assert mine["steps"].tolist() == [expected] * 2
    assert (summary["steps"] <= 180).all()
    assert np.isfinite(mine["best"]).all()


def test_the_report_is_written_and_says_what_the_probe_found(comparison, tmp_path):
    page = comparison.save(tmp_path).read_text()
    for seed in (0, 1):
        reason = descending_probe(line(), seed, lr_range=(1e-3, 10.0)).reason
        assert f"probe, SGD, seed {seed}" in page
        assert reason in page
    taken = sum(trial.steps for record in comparison.records for trial in record.trials)
    assert f"{taken:,}" in page
    assert (tmp_path / "range_tests.png").read_bytes().startswith(b"\x89PNG")


def test_run_again_nothing_is_trained_and_nothing_changes(stored, comparison):
    again = compared(stored)
    pd.testing.assert_frame_equal(again.trials, comparison.trials)


def test_interrupted_in_the_probe_and_run_again_it_ends_as_if_undisturbed(comparison, tmp_path):
    calls = {}

    def interrupting(model, batch):
        calls["left"] -= 1
        if calls["left"] == 0:
            raise KeyboardInterrupt
        return squared_error(model, batch)

    url, settings = f"sqlite:///{tmp_path}/a.db", {"strategies": ["probe"], "workload": line(loss=interrupting)}
    for left in (
        45,
        255,
        10**6,
    ):  # the first falls into the first probe: 17 calls are made before, to try the workload out
        calls["left"] = left
        with contextlib.suppress(KeyboardInterrupt):
            compared(url, **settings)
            assert left == 10**6
        if left == 45:
            assert [(record.kind, record.trials) for record in lrs.load(url, "probed").records[:1]] == [("probe", [])]
    resumed = compared(url, **settings).trials.drop(columns=TIMES)
    whole = comparison.trials.query("strategy == 'probe'").drop(columns=TIMES).reset_index(drop=True)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True, check_categorical=False, check_dtype=False)


def test_two_ladders_are_probed_each_for_itself():
    coarse = Strategy("coarse", strategies.probe.sampler, probe=Ladder(num_steps=4, factor=10.0))
    both = compared(strategies=["probe", coarse], schedules=["constant"], seeds=1)
    first = both.trials[both.trials["number"] == 0].set_index("strategy")["steps_charged"] - 30
    for name, ladder in (("probe", Ladder()), ("coarse", coarse.probe)):
        assert first[name] == descending_probe(line(), lr_range=(1e-3, 10.0), ladder=ladder).steps_charged
    assert first["probe"] != first["coarse"]


def test_two_strategies_of_one_ladder_share_its_probe():
    shared = compared(strategies={"one": "probe", "other": "probe"}, schedules=["constant"], seeds=1)
    assert [record.kind for record in shared.records] == ["probe", "search", "search"]
    first = shared.trials[shared.trials["number"] == 0]["steps_charged"]
    assert first.iloc[0] == first.iloc[1]


def test_another_ladder_under_the_same_names_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    compared(url, strategies=["probe"], schedules=["constant"], seeds=1)
    changed = Strategy("probe", strategies.probe.sampler, probe=Ladder(factor=10.0))
    with pytest.raises(
        FingerprintError, match=r"ladder differs: 10 steps, down by 3\.162 then, 10 steps, down by 10 now"
    ):
        compared(url, strategies=[changed], schedules=["constant"], seeds=1)


def test_a_budget_that_does_not_pay_for_the_probe_is_refused():
    # 9 LRs from 10 down to 1e-3 and the untrained weights, 10 steps each, and a training of 30
    with pytest.raises(
        InvalidInputError, match=re.escape("its probe and one full training of 30 steps in 'probe'")
    ) as e:
        compared(strategies=["probe"], budget=2)
    assert f"Give at least {math.ceil((100 + 30) / 30 * 100) / 100:g}." in str(e.value)


def test_the_plan_counts_the_probe_at_most(capsys):
    compared(strategies=["probe", "grid"], schedules=["constant"], seeds=1, dry_run=True)
    # the probe: 100 steps at most, which leave 80 of 180 for 2 trainings; the grid: 6
    assert "at most 9 trials and 340 steps in all" in capsys.readouterr().out


def test_where_no_lr_is_usable_the_search_covers_the_range():
    found = compared(strategies=["probe"], schedules=["constant"], seeds=1, lr_range=(5.0, 500.0))
    assert "falls at no learning rate from 500 to 5 " in found.records[0].trials[0].outcome["reason"]
    assert found.trials["lr"].tolist()[:3] == pytest.approx([50, 5 * 10**0.5, 50 * 10**0.5])
    assert (found.trials["outcome"] == "diverged").all()


def test_the_command_line_lists_it_and_runs_it(cli):
    assert re.search(r"probe +ever lower LRs until the loss falls", cli("list").output)
