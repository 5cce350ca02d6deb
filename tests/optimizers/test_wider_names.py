"""NAdam, RAdam, Adafactor, Lion and Muon by name: in range tests, comparisons and fused trainings, as any other optimizer."""

from itertools import product

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lr_search as lrs
from lr_search.executors import FusedExecutor
from lr_search.optimizers import by_name
from lr_search.optimizers.character import character
from lr_search.results.code.recommended_code import code_for
from tests.helpers.fused_cases import in_order, mlp, workload

pytestmark = pytest.mark.usefixtures("quick_pictures")

NAMES = ["nadam", "radam", "adafactor", "lion", "muon"]
SCHEDULES = ["constant", "one_cycle"]
EVERY_NAME = pytest.mark.parametrize("name", NAMES)
CHARACTERS = {"nadam": (0, 0), "lion": (0, 0), "muon": (-0.7, 0), "adafactor": (-3, 0)}  # the gain and the fade


def loss_of(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def begun(name):
    """A model in the middle of its training, in two groups at two LRs."""
    torch.manual_seed(0)
    model = mlp()
    groups = [{"params": model[0].parameters(), "lr": 0.02}, {"params": model[2].parameters(), "lr": 0.005}]
    optimizer = by_name(name)(groups, lr=0.02)
    go_on(model, optimizer, 7)
    return model, optimizer


def go_on(model, optimizer, steps):
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, in_order()[step % 2]).backward()
        optimizer.step()


def kept(model, optimizer):
    gradients = [parameter.grad for parameter in model.parameters()]
    return plain([model.state_dict(), optimizer.state_dict(), gradients])


def plain(value):
    """Tensors in containers as numbers."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@EVERY_NAME
def test_a_range_test_amid_a_training_puts_back_every_bit(name):
    model, optimizer = begun(name)
    before = kept(model, optimizer)
    curve = lrs.range_test(model, optimizer, in_order(), loss_of, end_lr=1.0, num_steps=30)
    assert kept(model, optimizer) == before
    assert curve.gain_ratio is not None
    assert curve.metrics["relative_update"][-1] > 0
    other, undisturbed = begun(name)
    go_on(model, optimizer, 6)
    go_on(other, undisturbed, 6)
    assert kept(model, optimizer) == kept(other, undisturbed)


@pytest.mark.parametrize(("name", "expected"), CHARACTERS.items())
def test_their_steps_are_the_lrs_whatever_the_gradient(name, expected):
    found = character(by_name(name)([nn.Parameter(torch.ones(3, 2))], lr=0.1))
    # Adafactor's are relative to the weight, or to its eps of 1e-3; Muon's 0.2 of the LR, as far as it goes to 1
    assert found["scaling"] == pytest.approx(0, abs=1e-5)
    assert found["gain"] == pytest.approx(expected[0], abs=0.2)
    assert found["fade"] == pytest.approx(expected[1], abs=0.01)


@pytest.mark.parametrize(("lr", "step"), [(0.01, 0.01), (0.5, 0.25), (5.0, 0.25)])
def test_adafactors_lr_is_relative_and_one_over_the_root_of_the_step_at_most(lr, step):
    weight = nn.Parameter(torch.full((4, 3), 8.0))
    optimizer = by_name("adafactor")([weight], lr=lr)
    weight.grad = torch.full_like(weight, -1e-3)
    for _ in range(15):
        optimizer.step()
    before = weight.detach().clone()
    optimizer.step()  # the 16th
    torch.testing.assert_close(weight.detach() / before - 1, torch.full_like(weight, step), rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def compared():
    """Of the executor: the comparison of them all, a seed, two schedules, a few steps."""

    def run(executor):
        return lrs.compare(
            workload(num_steps=20, eval_every=10), optimizers=NAMES, strategies={"range_test": "range_test", "at": 0.003},
            schedules=SCHEDULES, budget=3, seeds=1, range_test={"num_steps": 20}, executor=executor,
            storage=None, progress=False,
        )  # fmt: skip

    return run(lrs.LocalExecutor()), run(FusedExecutor(width=4))


@pytest.mark.long
def test_a_comparison_from_end_to_end(compared, tmp_path):
    comparison = compared[0]
    counts = comparison.trials.groupby(["optimizer", "schedule", "strategy"], observed=True).size().to_dict()
    assert set(counts) == set(product(NAMES, SCHEDULES, ("range_test", "at")))
    assert set(comparison.curves["optimizer"]) == set(NAMES)
    assert comparison.trials["outcome"].eq("finished").all()
    best = comparison.recommend()
    assert best.optimizer in NAMES
    comparison.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in NAMES)


def test_fused_trainings_give_the_same_to_rounding(compared):
    local, fused = (
        each.trials.query("strategy == 'at'").set_index(["optimizer", "schedule"])["objective"] for each in compared
    )
    pd.testing.assert_series_equal(fused.sort_index(), local.sort_index(), rtol=2e-3)


@EVERY_NAME
def test_the_pasted_code_trains_to_the_same_loss(compared, name):
    comparison = compared[0]
    trial = comparison.trials.query(f"optimizer == '{name}' and schedule == 'one_cycle' and strategy == 'at'").iloc[0]
    plans = [record.plan for record in comparison.records if record.kind == "search"]
    plan = next(p for p in plans if (p["optimizer"], p["schedule"], p["strategy"]) == (name, "one_cycle", "at"))
    text = code_for(plan, trial["lr"], {})
    assert "lr_search" not in text
    model, optimizer, batches = workload(num_steps=20).begin(0)
    exec(text, names := {"model": model})
    for _, batch in zip(range(20), batches, strict=False):
        loss_of(model, batch).backward()
        names["optimizer"].step()
        names["scheduler"].step()
        names["optimizer"].zero_grad()
    with torch.no_grad():
        losses = [loss_of(model.eval(), batch).item() for batch in in_order()]
    assert sum(losses) / len(losses) == pytest.approx(trial["objective"], rel=1e-4)
    assert type(optimizer) is not type(names["optimizer"])


@EVERY_NAME
def test_it_trains_below_where_it_began(name):
    work = workload(optimizer=by_name(name))
    lr = {"lion": 0.01, "radam": 0.2}.get(name, 0.05)
    evaluations = list(lrs.train(work, lrs.schedules.by_name("cosine", lr=lr, num_steps=work.num_steps)))
    assert evaluations[-1].metrics["loss"] < 0.8 * evaluations[0].metrics["loss"]
