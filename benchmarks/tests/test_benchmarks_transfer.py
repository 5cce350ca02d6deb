"""Pilots that were trained, designs of them looked up, and what is fitted to them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from fit_transfer import fitted, middle, robust, rows_of, spread
from judge_regrets import regret_curve
from lifelike import TASKS
from lr_grid import LRGrid
from tasks import TASKS as OLDER_TASKS
from transfer_designs import PLAN_OF, TransferCase, cost, older_cases, pilots_of, transfer_cases
from transfer_older import PATH as OLDER
from transfer_older import data_of
from transfer_pilots import PATH, grid, lacking, pilot_lengths

import lr_search as lrs
from lr_search import LRPrior
from lr_search.fused.support import support_of
from lr_search.scaling.transfer_constants import transfer_constants
from lr_search.testing.line_workload import line_workload

pytestmark = pytest.mark.bench
STEPS = (100, 200, 400, 800)


def truth_at(best, num_steps, seeds=1):
    """A parabola in log LR."""
    places = best + np.linspace(-1.4, 1.4, 9)
    of_lr = {f"{10**place:.9g}": [1 + (place - best) ** 2] * seeds for place in places}
    return regret_curve("made_up", "constant", num_steps, str(num_steps), of_lr, [3.0] * seeds)


def case(exponent=-0.3, steps_per_epoch=10_000, older=False):
    """A task whose best LR is 10^-2 at 3,200 steps and moves as a power of the length."""
    rungs = {steps: truth_at(-2 - exponent * np.log10(3200 / steps), steps) for steps in STEPS}
    return TransferCase(
        truth_at(-2.0, 3200, 2), LRPrior(1e-5, 10.0, 1e-2, 0.5), rungs, "made up", steps_per_epoch, older
    )


def test_a_pilot_s_length_is_a_share_of_the_training():
    assert pilot_lengths(3200) == [100, 200, 400, 800]
    assert case().steps(16) == 200


def test_what_an_entry_of_fewer_divisors_lacks_is_told():
    pilots = {
        "cosine": {str(steps): {} for steps in (31, 62, 125, 94, 188, 375)},
        "wsd": {"94": {}, "188": {}, "375": {}, "750": {}},
    }
    assert lacking({"pilots": pilots}) == {"cosine": [250, 750]}


def test_a_grid_s_losses_are_those_of_trainings_by_themselves_and_its_best_lies_inside():
    work = line_workload(num_steps=60)
    grid = LRGrid(work, support_of(work, 0), -3.0, [20, 60], [60], least=60)
    found = grid.trained()
    assert {schedule: list(lengths) for schedule, lengths in found.items()} == {
        "constant": ["20", "60"], "wsd": ["20", "60"], "cosine": ["60"],
    }  # fmt: skip
    for schedule in found:
        first = [np.inf if of_lr[0] is None else of_lr[0] for of_lr in found[schedule]["60"].values()]
        assert 0 < int(np.argmin(first)) < len(first) - 1
        lr, losses = list(found[schedule]["60"].items())[2]
        for seed, loss in enumerate(losses):
            short = replace(work, num_steps=60, eval_every=60)
            *_, last = lrs.train(short, lrs.schedules.by_name(schedule, float(lr), 60, work.steps_per_epoch), seed=seed)
            # wsd is branched off a constant training, so that it has no warm-up
            assert schedule == "wsd" or last.metrics["loss"] == pytest.approx(loss, rel=1e-4)


def test_the_grid_lies_around_the_best():
    assert np.log10(grid(-2.0)) == pytest.approx(-2 + 0.35 * np.arange(-4, 5), abs=1e-5)


def test_a_design_costs_its_pilots_and_the_range_test():
    assert cost(PLAN_OF["3 of T/32, 1 of T/8"], 3200) == pytest.approx(3 / 32 + 1 / 8 + 133 / 3200)


@pytest.mark.parametrize("name", PLAN_OF)
def test_a_design_has_as_many_pilots_of_each_length(name):
    lengths = [pilot.num_steps for pilot in pilots_of(case(), PLAN_OF[name])]
    assert lengths == [
        min(STEPS, key=lambda s: abs(np.log(s * d / 3200))) for d, n, _ in PLAN_OF[name] for _ in range(n)
    ]


def test_the_middle_of_a_symmetric_basin_is_its_best():
    assert middle(truth_at(-2.0, 3200)) == pytest.approx(-2.0, abs=0.01)


def test_how_basins_move_is_measured():
    rows = rows_of([case(exponent=-0.3, steps_per_epoch=10_000)])
    assert rows[:, 0] == pytest.approx(np.log10(3200 / np.array(STEPS)))
    assert rows[:, 1] == pytest.approx(0.0)
    assert rows[:, 2] == pytest.approx(-0.3 * rows[:, 0], abs=0.02)


def test_passes_beyond_the_third_are_told_apart():
    (first, *_) = rows_of([case(steps_per_epoch=100)])  # 32 passes; the shortest pilot makes one
    assert first[1] == pytest.approx(np.log10(32 / 3))


def test_the_regression_finds_a_law_and_leaves_what_strays():
    rows = law_rows(400)
    rows[::50, 2] += 3.0
    assert robust(rows, 2) == pytest.approx([-0.2, -0.6], abs=0.05)


def law_rows(count, law=(-0.2, -0.6), weight=1.0, seed=0):
    """Moves by a law, with noise."""
    generator = np.random.default_rng(seed)
    design = generator.uniform(0, 1.5, (count, 2))
    return np.column_stack([design, design @ law + generator.normal(0, 0.1, count), np.full(count, weight)])


def test_a_row_of_weight_two_counts_as_two():
    some, others = law_rows(40), law_rows(40, law=(0.1, -0.2), seed=1)
    twice = np.concatenate([some, some, others])
    heavy = np.concatenate([some * [1, 1, 1, 2], others])
    assert robust(heavy, 2) == pytest.approx(robust(twice, 2))
    assert spread(heavy, np.zeros(2), 0.1) == pytest.approx(spread(twice, np.zeros(2), 0.1))


def test_shrinkage_draws_few_rows_to_the_others_law():
    drawn = robust(np.array([[1.2, 0.0, 0.3, 1.0]]), 2, towards=np.array([-0.2, -0.6]))
    assert drawn == pytest.approx([-0.2, -0.6], abs=0.03)


def test_the_scatter_is_what_the_noise_of_a_best_lr_leaves():
    generator = np.random.default_rng(0)
    longer = np.full(4000, 1.2)
    moved = generator.normal(-0.2, 0.25, 4000) * longer + generator.normal(0, 0.2, 4000)
    rows = np.stack([longer, np.zeros(4000), moved, np.ones(4000)], axis=1)
    assert spread(rows, np.array([-0.2]), 0.2) == pytest.approx(0.25, abs=0.02)


def test_the_constants_of_the_package_are_those_of_these_pilots():
    drifts = fitted([*transfer_cases(), *older_cases()], transfer_constants()).drifts
    assert drifts == transfer_constants().drifts


def test_every_pilot_is_of_a_task_that_is_known():
    found = json.loads(PATH.read_text())
    assert all(TASKS[name].side == "fit" for name in found)
    assert set(json.loads(OLDER.read_text())) == set(OLDER_TASKS)


def test_older_tasks_count_less_and_those_of_one_kind_of_data_are_left_out_together():
    assert [rows_of([case(older=older)])[:, 3].tolist() for older in (False, True)] == [[1.0] * 4, [0.3] * 4]
    assert data_of("cnn_digits_adam") == data_of("vae_digits_adam") != data_of("flow_moons_adam")


ROOT = Path(__file__).parents[2]
JUDGED = {
    "transfer_unseen.json": 15,
    "transfer_judged.json": 30,
    "transfer_rejudged.json": 30,
    "transfer_unseen_again.json": 15,
}


def judged_mean(name, kind, way):
    """As the documents print it."""
    judged = json.loads((ROOT / "benchmarks" / name).read_text())
    regrets = [row["regret"] for task in judged.values() for row in task.get(kind, []) if row["way"] == way]
    assert len(judged) == JUDGED[name]
    return f"{np.mean(regrets):.3f}"[1:]


@pytest.mark.parametrize(
    ("begins", "name", "way"),
    [
        ("| the range test's suggestion | .239", "transfer_unseen.json", "suggestion"),
        ("| **transfer, .25**", "transfer_unseen.json", "transfer, a quarter"),
        ("| **transfer, 1.0**", "transfer_unseen.json", "transfer, a whole"),
        ("| log grid of T/16, .25, moved unchanged | .245", "transfer_unseen.json", "grid, a quarter"),
        ("| TPE of T/16, .25, unchanged | .146", "transfer_unseen.json", "tpe, a quarter"),
        ("| the suggestion that is there now", "transfer_unseen_again.json", "suggestion"),
        ("| now, .25", "transfer_unseen_again.json", "transfer, a quarter"),
        ("| now, 1.0", "transfer_unseen_again.json", "transfer, a whole"),
        ("| first design, .25", "transfer_judged.json", "transfer, a quarter"),
        ("| first design, 1.0", "transfer_judged.json", "transfer, a whole"),
        ("| what is there now, .25", "transfer_rejudged.json", "transfer, a quarter"),
        ("| what is there now, 1.0", "transfer_rejudged.json", "transfer, a whole"),
    ],
)
def test_the_judged_numbers_are_those_that_were_kept(begins, name, way):
    (row,) = [line for line in (ROOT / "docs" / "transfer.md").read_text().splitlines() if line.startswith(begins)]
    for schedule in ("constant", "cosine", "wsd"):
        assert judged_mean(name, f"{schedule} 3000", way) in row


def test_the_readme_has_the_numbers_of_the_unseen_tasks():
    rows = [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("|") and ("`transfer`" in line or "for .89" in line)
    ]
    quarter, whole = rows
    for schedule in ("constant", "cosine"):
        kind = f"{schedule} 3000"
        for way in ("transfer, a quarter", "suggestion", "tpe, a quarter"):
            assert judged_mean("transfer_unseen.json", kind, way) in quarter
        assert judged_mean("transfer_unseen.json", kind, "transfer, a whole") in whole
    again = " ".join((ROOT / "README.md").read_text().split())
    now = [
        " / ".join(
            judged_mean("transfer_unseen_again.json", f"{schedule} 3000", way) for schedule in ("constant", "cosine")
        )
        for way in ("transfer, a quarter", "suggestion")
    ]
    assert f"`transfer` on the 15 is now {now[0]}, the suggestion {now[1]}" in again
