"""The range test: which LRs it takes, what it records, when it stops, and what it refuses. See also test_ramp_restores."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.errors import InvalidInputError, WorkloadError
from tests.helpers.case_ids import case_id


@pytest.fixture
def live(examples, dropout_net, seed_all):
    """Makes a model, its optimizer and a shuffling loader, always the same, and seeds the global generators."""

    def make(seed=0, lr=0.1):
        seed_all(seed)
        model = dropout_net()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        seed_all(seed)
        return model, optimizer, DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True)

    return make


def losses_by_hand(model, optimizer, loader, loss, lrs):
    """Plain PyTorch: the loss before each step."""
    batches = (batch for _ in range(len(lrs)) for batch in loader)
    losses = []
    for lr, batch in zip(lrs, batches, strict=False):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses


@pytest.mark.parametrize(
    ("ramp", "start_lr", "end_lr", "expected"),
    [
        ("exponential", 1e-5, 1e-1, [1e-5 * 10 ** (4 * i / 40) for i in range(41)]),
        ("linear", 0.0, 0.2, [0.2 * i / 40 for i in range(41)]),
        ("linear", 0.1, 0.2, [0.1 + 0.1 * i / 40 for i in range(41)]),
    ],
)
def test_lrs_and_losses_are_those_of_a_loop_written_by_hand(live, cross_entropy, ramp, start_lr, end_lr, expected):
    arguments = {"start_lr": start_lr, "end_lr": end_lr, "num_steps": 41, "ramp": ramp}
    curve = lrs.range_test(*live(), cross_entropy, **arguments)
    assert curve.lr == pytest.approx(expected, rel=1e-12)
    assert curve.loss.tolist() == losses_by_hand(*live(), cross_entropy, curve.lr.tolist())
    assert (curve.stopped, curve.num_steps, curve.ramp) == ("finished", 41, ramp)


def test_the_lr_the_optimizer_has_does_not_matter(live, cross_entropy):
    one, other = (lrs.range_test(*live(lr=lr), cross_entropy, end_lr=0.1, num_steps=20) for lr in (0.1, 1e-6))
    assert one.loss.tolist() == other.loss.tolist()


def test_a_criterion_is_understood_for_inputs_and_targets(live, cross_entropy):
    expected = lrs.range_test(*live(), cross_entropy, num_steps=20).loss
    np.testing.assert_array_equal(lrs.range_test(*live(), nn.CrossEntropyLoss(), num_steps=20).loss, expected)


def test_a_loaders_own_generator_draws_on_from_where_it_is(live, cross_entropy, examples):
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True, generator=generator)
    losses_by_hand(*live()[:2], loader, cross_entropy, [0.1] * 8)  # a training of one pass
    curve = lrs.range_test(*live()[:2], loader, cross_entropy, end_lr=0.1, num_steps=20)
    assert curve.loss.tolist() == losses_by_hand(*live()[:2], loader, cross_entropy, curve.lr.tolist())


def test_parameter_groups_keep_their_ratios(live, cross_entropy):
    def ran(second, ratio):
        model, optimizer, loader = live()
        first, *rest = model.parameters()
        groups = [{"params": [first], "lr": 0.1}, {"params": rest, "lr": second}]
        optimizer, seen = torch.optim.SGD(groups, lr=1.0), []

        def loss(model, batch):
            seen.append([group["lr"] for group in optimizer.param_groups])
            return cross_entropy(model, batch)

        curve = lrs.range_test(model, optimizer, loader, loss, end_lr=0.1, num_steps=20, gain_ratio=False)
        assert [pair[0] for pair in seen] == curve.lr.tolist()
        assert [pair[1] for pair in seen] == pytest.approx([ratio * lr for lr in curve.lr])
        assert [group["lr"] for group in optimizer.param_groups] == [0.1, second]
        return curve

    assert ran(0.1, 1.0).loss.tolist() != ran(0.01, 0.1).loss.tolist()


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"clip_norm": 1e9}, True),
        ({"clip_norm": 1e-3}, False),
        ({"precision": "bf16"}, False),
        ({"accumulate": 2}, False),
    ],
)
def test_options_reach_the_step(live, cross_entropy, options, same):
    plain, changed = (lrs.range_test(*live(), cross_entropy, end_lr=1.0, num_steps=30, **o) for o in ({}, options))
    assert (plain.loss.tolist() == changed.loss.tolist()) is same
    assert changed.loss[0] == pytest.approx(plain.loss[0], rel=0.3)


def test_accumulate_records_the_mean_of_the_batches(live, cross_entropy):
    model, optimizer, loader = live()
    batches = list(loader)[:6]
    model[3].p = 0.0
    curve = lrs.range_test(
        model, optimizer, batches, cross_entropy, start_lr=1e-12, end_lr=1e-11, num_steps=20, accumulate=3
    )
    single = [float(cross_entropy(model, batch).detach()) for batch in batches]
    assert curve.loss == pytest.approx([np.mean(single[:3]), np.mean(single[3:])] * 10, rel=1e-5)


class Quadratic(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))


def quadratic(curvature, targets, **options):
    """Range-tests curvature / 2 * (weight - target)^2 with SGD, whose edge of stability is 2 / curvature."""
    model = Quadratic()
    options = {"start_lr": 1e-3 / curvature, "end_lr": 100 / curvature, "num_steps": 300} | options
    return lrs.range_test(
        model,
        torch.optim.SGD(model.parameters(), lr=1.0),
        [torch.tensor(target, dtype=torch.float64) for target in targets],
        lambda model, target: curvature / 2 * (model.weight - target) ** 2,
        **options,
    )


def test_the_losses_on_a_quadratic_are_those_of_its_formula():
    curve = quadratic(4.0, [0.0, 0.0], end_lr=1.0, num_steps=50)
    weights = np.cumprod([1.0, *(1 - 4.0 * curve.lr[:-1])])
    assert curve.loss == pytest.approx(2.0 * weights**2, rel=1e-9)


@pytest.mark.parametrize("curvature", [0.05, 1.0, 300.0])
def test_sgd_on_a_quadratic_blows_up_just_beyond_two_over_its_curvature(curvature):
    noise = np.random.default_rng(0).normal(0, 0.5, 20)
    noisy, clean = quadratic(curvature, noise), quadratic(curvature, [0.0, 0.0])
    assert noisy.stopped == clean.stopped == "diverged"
    assert 2 < noisy.lr[-1] * curvature < 2.5
    # without noise the weight is within 1e-10 of the minimum by then, and has to come back all the way
    assert 2 < clean.lr[-1] * curvature < 20
    # it is noticed at the end of a block of steps, which are counted
    assert noisy.num_steps == 10 * -(-len(noisy.loss) // 10) < 300


def test_below_the_edge_of_stability_it_finishes():
    curve = quadratic(1.0, np.random.default_rng(0).normal(0, 0.5, 20), end_lr=1.9)
    assert (curve.stopped, len(curve.lr), curve.lr[-1]) == ("finished", 300, pytest.approx(1.9))


@pytest.mark.parametrize("at", [1, 4, 9, 10, 11, 25])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_stops_at_a_loss_that_is_not_finite(live, cross_entropy, at, value):
    calls = []

    def loss(model, batch):
        calls.append(1)
        return cross_entropy(model, batch) * (value if len(calls) == at + 1 else 1.0)

    curve = lrs.range_test(*live(), loss, end_lr=0.1, num_steps=40, gain_ratio=False)
    assert (curve.stopped, len(curve.loss)) == ("non_finite", at)
    assert curve.num_steps == 10 * (at // 10 + 1)  # it is noticed at the end of a block
    assert (
        len(calls) == curve.num_steps + 2
    )  # that batch and the one before it are looked at once more, for a fault of theirs
    assert curve.loss.tolist() == losses_by_hand(*live(), cross_entropy, curve.lr.tolist())


def test_an_exception_on_non_finite_outputs_or_weights_stops_it(live, cross_entropy):
    def checked(model, batch):
        output = model(batch[0])
        if not output.isfinite().all():
            raise ValueError("not a number")
        return cross_entropy(model, batch)

    def once_poisoned(poison):
        calls = []

        def loss(model, batch):
            calls.append(1)
            if len(calls) == 6:
                poison(model)
            return checked(model, batch)

        return lrs.range_test(*live(), loss, end_lr=0.1, gain_ratio=False)

    nan_weights = once_poisoned(lambda model: model[4].weight.data.fill_(float("nan")))
    huge_weights = once_poisoned(lambda model: model[4].weight.data.fill_(3e38))
    for curve in (nan_weights, huge_weights):
        assert (curve.stopped, len(curve.loss)) == ("non_finite", 5)


def test_an_exception_at_the_first_loss_is_the_users_even_on_a_non_finite_output(live):
    def loss(model, batch):
        raise ValueError(f"not a number: {model(batch[0] * float('nan'))[0, 0]}")

    with pytest.raises(ValueError, match="not a number: nan"):
        lrs.range_test(*live(), loss)


def test_an_exception_while_all_is_finite_propagates(live):
    def loss(model, batch):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        lrs.range_test(*live(), loss)


def test_a_first_loss_that_is_not_finite_is_refused(live, cross_entropy):
    with pytest.raises(WorkloadError, match="The first loss must be finite"):
        lrs.range_test(*live(), lambda model, batch: cross_entropy(model, batch) * float("nan"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_lr": 0.1, "end_lr": 0.1}, "start_lr must be below end_lr, but got start_lr=0.1, end_lr=0.1."),
        ({"start_lr": 1.0, "end_lr": 0.1}, "start_lr must be below end_lr, but got start_lr=1.0, end_lr=0.1."),
        ({"end_lr": float("inf")}, "start_lr must be below end_lr, but got start_lr=1e-07, end_lr=inf."),
        ({"end_lr": float("nan")}, "end_lr must be a number or None, but got nan."),
        ({"start_lr": 0.0}, "start_lr must be positive, but got start_lr=0.0."),
        ({"start_lr": -0.1, "ramp": "linear"}, "start_lr must be at least 0, but got start_lr=-0.1."),
        ({"num_steps": 19}, "num_steps must be at least 20, but got num_steps=19."),
        ({"ramp": "log"}, "ramp must be 'exponential' or 'linear', but got 'log'."),
        ({"accumulate": 0}, "accumulate must be from 1 to 100,000 batches a step, but got accumulate=0."),
        ({"clip_norm": -1.0}, "clip_norm must be positive, or None, but got clip_norm=-1.0."),
        ({"precision": "int8"}, "precision must be 'fp32', 'bf16' or 'fp16', but got 'int8'."),
        ({"model": "net"}, "model must be a torch.nn.Module, but got 'net'."),
        ({"optimizer": torch.optim.SGD}, "That is a class: pass an object of it, SGD(...)."),
        ({"batches": iter([1, 2])}, "got a bare iterator, which cannot be put back where it was. Pass the DataLoader"),
        ({"batches": []}, "batches must give batches, but got none."),
        ({"batches": [1]}, "batches must give at least 2 batches a pass, but got 1"),
        ({"batches": 5}, "batches must be an iterable, but got 5."),
        ({"loss": lambda model, batch: 1.0}, "loss(model, batch) must return a scalar tensor, but got float."),
    ],
    ids=case_id,
)
def test_every_rule_says_what_it_is_and_what_came(live, cross_entropy, arguments, message):
    model, optimizer, loader = live()
    given = {"model": model, "optimizer": optimizer, "batches": loader, "loss": cross_entropy} | arguments
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        lrs.range_test(**given)


def test_of_a_workload_it_equals_a_loop_written_by_hand(make_workload, live, cross_entropy, examples):
    workload = make_workload(train_data=lambda: DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True))
    curve = workload.range_test(3, end_lr=1.0, num_steps=50)
    assert curve.loss.tolist() == losses_by_hand(*live(seed=3), cross_entropy, curve.lr.tolist())
    assert len(curve.loss) == 50


def test_of_a_workload_it_depends_on_the_seed_alone(make_workload, examples, seed_all, global_rng):
    generator = torch.Generator().manual_seed(2)
    shared = DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True, generator=generator)
    for workload in (make_workload(), make_workload(train_data=lambda: shared)):
        curves = []
        for seed, elsewhere in ((0, 5), (0, 6), (1, 5)):
            seed_all(elsewhere)
            before = global_rng(), generator.get_state().tolist()
            curves.append(workload.range_test(seed, num_steps=20).loss.tolist())
            assert (global_rng(), generator.get_state().tolist()) == before
        assert curves[0] == curves[1] != curves[2]
