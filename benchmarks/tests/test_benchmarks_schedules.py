"""What benchmarks/schedules.py measures, on numbers with a known answer."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.training.controller import first_schedule
from lr_search.training.snapshots import Snapshot

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from schedule_report import Found, report
from schedule_runs import SHARES, SHORT, Run, incumbent_area, reached
from schedule_snapshots import between
from schedule_tasks import SCHEDULES, TASKS, down_then_min

pytestmark = pytest.mark.bench

ROOT = Path(__file__).parents[2]
KEPT = json.loads((ROOT / "benchmarks" / "schedules.json").read_text())
NAMES = {
    "constant at the peak": "constant",
    "max to min in a step_size, then min": "max to min, then min",
    "refind (cost 1.19)": "refind",
}


def test_the_written_tables_are_those_of_what_was_measured() -> None:
    assert (ROOT / "docs" / "schedules_measured.md").read_text() == report(KEPT)


def test_the_page_has_the_measured_numbers() -> None:
    known = Found([Run(**each) for each in KEPT["runs"]])
    table = (
        (ROOT / "docs" / "schedules.md")
        .read_text()
        .partition("| schedule | final regret | as good in 25% |")[2]
        .partition("\n\n")[0]
    )
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len(rows) == 13
    for name, regret, *_, area in rows:
        runs = known.rows(NAMES.get(name, name)).values()
        assert float(regret) == pytest.approx(np.mean([known.regret(each) for each in runs]), abs=5.1e-4)
        assert float(area) == pytest.approx(np.mean([known.area(each) for each in runs]), abs=5.1e-4)


def run(losses: list[float], row: str = "constant", seed: int = 0) -> Run:
    return Run("task", seed, row, 1.0, 0.1, np.linspace(0, 1, len(losses)).tolist(), losses, 1.0)


def test_the_area_under_the_incumbent_counts_the_best_so_far_from_where_it_was_seen() -> None:
    assert incumbent_area(run([1.0, 0.5, 0.0]), 1.0, 0.0) == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert incumbent_area(run([1.0, 0.5, 0.9]), 1.0, 0.0) == pytest.approx(0.75)  # a worse one later changes nothing
    assert incumbent_area(run([4.0, 3.0, 2.0]), 4.0, 2.0) == pytest.approx(0.75)
    assert incumbent_area(run([1.0, math.inf]), 1.0, 0.0) == pytest.approx(1.0)


def test_a_goal_is_reached_at_the_first_evaluation_that_is_no_worse() -> None:
    losses = [1.0, 0.6, 0.4, 0.5, 0.3]
    assert reached(run(losses), 0.4) == 0.5
    assert reached(run(losses), 0.45) == 0.5
    assert reached(run(losses), 0.2) == math.inf


def test_the_tuned_constant_is_the_best_of_a_task_over_its_seeds() -> None:
    runs = [run([1.0, final], row, seed) for row, finals in {
        "constant": [0.2, 0.4], "constant x 0.01": [0.9, 0.9], "constant x 0.0316": [0.9, 0.9], "constant x 0.1": [0.9, 0.9],
        "constant x 0.316": [0.1, 0.3], "constant x 3.16": [0.0, math.inf], "constant x 10": [0.9, 0.9],
        "constant x 31.6": [0.9, 0.9], "constant x 100": [0.9, 0.9],
    }.items() for seed, final in enumerate(finals)]  # fmt: skip
    found = Found(runs)
    assert found.tuned == {"task": "constant x 0.316"}
    assert found.best == {("task", 0): 0.0, ("task", 1): 0.3}
    assert found.regret(runs[0]) == pytest.approx(0.2)
    assert found.regret(next(each for each in runs if math.isinf(each.losses[-1]))) == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_peaks_at_the_lr_that_was_found(name: str) -> None:
    for share in (1.0, *SHARES) if name in SHORT else (1.0,):
        steps = round(1000 * share)
        schedule = first_schedule(SCHEDULES[name](0.1, steps, 40.0))
        fine = schedule(np.linspace(0, steps, 20 * steps + 1))
        assert fine.max() == pytest.approx(0.1, rel=1e-3)


def test_the_papers_own_control_goes_down_in_half_a_cycle_and_stays() -> None:
    schedule = down_then_min(0.1, 1000, 40.0)  # 4 cycles of 250 steps, between a quarter of the peak and the peak
    np.testing.assert_allclose(schedule([0, 62.5, 125, 126, 999]), [0.1, 0.0625, 0.025, 0.025, 0.025])


def test_between_two_models_lie_a_barrier_and_the_examples_they_tell_apart() -> None:
    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return ((model.weight[0, 0] ** 2 - 1) ** 2).reshape(())  # a double well: 0 at 1 and -1, 1 between

    def metrics(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": loss(model, batch), "accuracy": torch.zeros(())}

    inputs = torch.tensor([[1.0], [2.0], [-1.0], [0.0]])
    batches = [(inputs, torch.zeros(4))]
    workload = lrs.Workload(
        model=lambda: nn.Linear(1, 2, bias=False), optimizer=torch.optim.SGD, loss=loss, metrics=metrics,
        train_data=lambda: batches * 2, valid_data=lambda: batches, device="cpu", combine="softmax",
    )  # fmt: skip
    ends = [Snapshot(step, {"weight": torch.tensor([[sign], [0.0]])}) for step, sign in ((1, 1.0), (2, -1.0))]
    measured = between(lrs.train(workload, lrs.schedules.Constant(0.1)), ends)
    assert measured["barrier"] == pytest.approx(1.0)
    assert measured["disagreement"] == 0.75  # all but the 0, where both say the first class


def test_every_task_has_epochs_and_a_way_to_combine_models() -> None:
    for make in TASKS.values():
        workload = make()
        assert workload.steps_per_epoch is not None
        assert workload.combine in ("softmax", "mean")
