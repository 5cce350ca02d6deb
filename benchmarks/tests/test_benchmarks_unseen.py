"""The unseen tasks: none has a relative's name, each begins where its truth says, and what is written of them is what trainings give."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import lr_search as lrs

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parents[2]
NAMES = (
    "additive_houses_momentum",
    "burgers_adam",
    "choices_cars_rmsprop",
    "energy_rings_lion",
    "finetune_mountain_car_momentum",
    "hamiltonian_nesterov",
    "modular_addition_adamw",
    "negative_binomial_visits_adagrad",
    "ode_storms_radam",
    "operator_pendulum_adamw",
    "ordinal_marks_nadam",
    "retention_python_adamw",
    "sinkhorn_sorting_sgd",
    "soft_trees_cells_sgd",
    "splines_riders_adam",
)
SAME = {"retention_python_adamw": 0.01}  # the library's source is another in each version of Python


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    return ROOT / "benchmarks"


def read(benchmarks: Path) -> dict[str, Any]:
    return json.loads((benchmarks / "unseen.json").read_text())


def test_no_name_and_no_kind_is_in_the_other_sets(benchmarks: Path) -> None:
    import lifelike
    import tasks
    from unseen import TASKS

    assert sorted(TASKS) == list(NAMES)
    assert not set(TASKS) & ({*lifelike.TASKS} | {*tasks.TASKS})
    assert not {task.family for task in TASKS.values()} & {task.family for task in lifelike.TASKS.values()}
    assert {task.side for task in TASKS.values()} == {"judge"}


@pytest.mark.parametrize("name", NAMES)
def test_a_task_begins_where_its_truth_says_and_can_be_fused(benchmarks: Path, name: str) -> None:
    from lifelike.sources import MissingDataError
    from unseen import TASKS

    from lr_search.fused.support import support_of

    try:
        workload = TASKS[name].make()
    except MissingDataError as error:
        pytest.skip(str(error))
    assert support_of(workload, 0).stacks
    training = lrs.train(workload, lrs.schedules.Constant(1e-3), seed=0)
    begun = next(iter(training)).metrics["loss"]
    training.close()
    assert math.isfinite(begun)
    assert begun == pytest.approx(read(benchmarks)[name]["initial"][0], rel=SAME.get(name, 1e-3))


def test_the_truth_holds_every_schedule_and_length_with_the_best_inside(benchmarks: Path) -> None:
    found = read(benchmarks)
    assert sorted(found) == list(NAMES)
    for name, entry in found.items():
        assert set(entry["losses"]) == {"constant", "wsd", "cosine"}
        for schedule, by_length in entry["losses"].items():
            assert {"3000"} | ({"1000"} if schedule != "cosine" else set()) <= set(by_length), name
            means = [math.inf if None in each else sum(each) / 2 for each in by_length["3000"].values()]
            assert 0 < means.index(min(means)) < len(means) - 1, (name, schedule)
            assert min(means) < 0.9 * min(entry["initial"]), (name, schedule)


def test_burgers_and_the_energy_carry_the_slopes_that_autograd_finds(benchmarks: Path) -> None:
    from unseen.judge_physics import Derived, Energy

    torch.manual_seed(0)
    model, point = Derived().double(), torch.tensor([0.3, 0.6], dtype=torch.float64)

    def value(at: torch.Tensor) -> torch.Tensor:
        return model(at[None])[0][0]

    slopes, curvature = (
        torch.func.grad(value)(point),
        torch.func.grad(lambda at: torch.func.grad(value)(at)[0])(point)[0],
    )
    torch.testing.assert_close(
        torch.stack([each[0] for each in model(point[None])[1:]]), torch.stack([*slopes, curvature])
    )

    energy, state = Energy().double(), torch.rand(4, dtype=torch.float64)
    turned = torch.func.grad(lambda at: energy.out @ torch.tanh(energy.second(torch.tanh(energy.first(at)))))(state)
    torch.testing.assert_close(energy(state[None])[0], torch.cat([turned[2:], -turned[:2]]))
