"""What train() yields, and that it equals a loop written by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs
from lr_search.schedules import SGDR, Constant, Triangular


@pytest.mark.parametrize(
    ("num_steps", "eval_every", "expected"),
    [
        (12, 5, [0, 5, 10, 12]),
        (10, 5, [0, 5, 10]),
        (4, 100, [0, 4]),
        (3, 1, [0, 1, 2, 3]),
        (1, 1, [0, 1]),
        (40, 35, [0, 35, 40]),  # more steps between evaluations than losses are read at once
    ],
)
def test_constant_is_evaluated_every_eval_every_steps_and_at_the_end(
    make_workload, constant, trained, num_steps, eval_every, expected
):
    workload = make_workload(num_steps=num_steps, eval_every=eval_every)
    training, evaluations, _ = trained(workload, constant(0.03))
    assert [e.step for e in evaluations] == expected
    assert [e.lr for e in evaluations] == [0.03] * len(expected)
    assert not any(e.end_of_cycle for e in evaluations)
    assert (training.stopped, training.step) == ("finished", num_steps)


@pytest.mark.parametrize(
    ("schedule", "steps", "ends"),
    [
        (Triangular(base_lr=0.01, max_lr=0.05, step_size=3), [0, 6, 12, 18, 20], [False, True, True, True, False]),
        (SGDR(base_lr=0.0, max_lr=0.05, T_0=4, T_mult=4), [0, 4, 20], [False, True, True]),
    ],
)
def test_cyclic_schedules_are_evaluated_at_their_cycles_ends_and_at_the_end(
    make_workload, trained, schedule, steps, ends
):
    _, evaluations, _ = trained(make_workload(num_steps=20, eval_every=1), schedule)
    assert [e.step for e in evaluations] == steps
    assert [e.end_of_cycle for e in evaluations] == ends
    assert [e.lr for e in evaluations] == [schedule(max(0, step - 1)) for step in steps]


@pytest.mark.parametrize("schedule", [Constant(0.1), Triangular(base_lr=0.02, max_lr=0.2, step_size=5)])
@pytest.mark.parametrize("seed", [0, 7])
def test_equals_a_loop_written_by_hand_to_the_last_bit(
    make_workload, examples, dropout_net, trained, seed_all, same_bits, weights, schedule, seed
):
    training, _, ours = trained(make_workload(), schedule, seed=seed)

    seed_all(seed)
    model = dropout_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    seed_all(seed)
    loader = DataLoader(TensorDataset(*examples), batch_size=8, shuffle=True, drop_last=True)
    batches = (batch for epoch in range(3) for batch in loader)
    for step, (inputs, classes) in zip(range(20), batches, strict=False):
        optimizer.param_groups[0]["lr"] = schedule(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), classes).backward()
        optimizer.step()
    assert training.step == 20
    assert same_bits(ours, weights(model))


def test_train_loss_is_the_mean_since_the_last_evaluation(make_workload, constant, cross_entropy):
    losses = []

    def loss(model, batch):
        value = cross_entropy(model, batch)
        if model.training:
            losses.append(float(value.detach()))
        return value

    evaluations = list(lrs.train(make_workload(loss=loss, num_steps=40, eval_every=18), constant()))
    assert [e.step for e in evaluations] == [0, 18, 36, 40]
    assert np.isnan(evaluations[0].train_loss)
    for evaluation, begin, end in zip(evaluations[1:], (0, 18, 36), (18, 36, 40), strict=True):
        assert evaluation.train_loss == pytest.approx(sum(losses[begin:end]) / (end - begin), rel=1e-12)


def test_metrics_are_those_of_the_model_at_that_step_in_eval_mode(make_workload, constant, examples):
    inputs, classes = examples
    training = lrs.train(make_workload(), constant(0.1))
    for evaluation in training:
        assert training.model.training
        modes = [module.training for module in training.model.modules()]
        training.model.eval()
        with torch.no_grad():
            expected = nn.functional.cross_entropy(training.model(inputs).double(), classes)
        for module, mode in zip(training.model.modules(), modes, strict=True):
            module.training = mode
        assert evaluation.metrics["loss"] == pytest.approx(float(expected), rel=1e-5)


def test_digits_are_learned():
    datasets = pytest.importorskip("sklearn.datasets")
    images, digits = datasets.load_digits(return_X_y=True)
    workload = lrs.classification(
        model=lambda: nn.Linear(64, 10),
        optimizer=torch.optim.Adam,
        train=(images[:1400] / 16, digits[:1400]),
        valid=(images[1400:] / 16, digits[1400:]),
        num_steps=200,
        eval_every=200,
        device="cpu",
    )
    first, last = lrs.train(workload, lrs.schedules.by_name("constant", 0.03, 200))
    assert first.metrics["accuracy"] < 0.25
    assert last.metrics["accuracy"] > 0.85
    assert last.metrics["loss"] < first.metrics["loss"] / 3


def test_diabetes_is_learned_as_far_as_least_squares():
    datasets = pytest.importorskip("sklearn.datasets")
    features, target = datasets.load_diabetes(return_X_y=True)
    features, target = features / features.std(0), (target - target.mean()) / target.std()
    workload = lrs.regression(
        model=lambda: nn.Linear(10, 1),
        optimizer=torch.optim.SGD,
        train=(features, target),
        valid=(features, target),
        batch_size=64,
        num_steps=400,
        eval_every=400,
        device="cpu",
    )
    _, last = lrs.train(workload, lrs.schedules.by_name("constant", 0.03, 400))
    design = np.column_stack([features, np.ones(len(features))])
    residual = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
    assert np.mean(residual**2) < last.metrics["loss"] < 1.05 * np.mean(residual**2)


def test_close_ends_it(make_workload, constant):
    training = lrs.train(make_workload(), constant())
    steps = [next(training).step, next(training).step]
    training.close()
    assert (steps, list(training), training.stopped, training.reason) == (
        [0, 5],
        [],
        "closed",
        "closed after step 5",
    )


def test_close_leaves_the_users_data_open(make_workload, constant, examples):
    class Batches(list):
        closed = False

        def close(self):
            self.closed = True

    batches = Batches([tuple(part[i : i + 8] for part in examples) for i in range(0, 48, 8)])
    workload = make_workload(train_data=lambda: batches, valid_data=lambda: batches)
    training = lrs.train(workload, constant())
    next(training)
    training.close()
    assert not batches.closed
    assert [e.step for e in lrs.train(workload, constant())] == [0, 5, 10, 15, 20]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": 0.1}, r"schedule must be an lr_search.Schedule or an lr_search.Controller, but got 0\.1"),
        ({"snapshots": -1}, "snapshots must be at least 0, but got snapshots=-1"),
        ({"workload": "digits"}, "workload must be an lr_search.Workload, but got 'digits'"),
    ],
)
def test_bad_arguments_are_refused(make_workload, constant, arguments, message):
    given = {"workload": make_workload(), "schedule": constant()} | arguments
    with pytest.raises(lrs.errors.InvalidInputError, match=message):
        lrs.train(given.pop("workload"), given.pop("schedule"), **given)


def test_an_objective_that_is_no_metric_is_refused_with_the_metrics_there_are(make_workload, constant):
    def metrics(model, batch):
        return {"error": 1.0, "accuracy": 0.0}

    training = lrs.train(make_workload(metrics=metrics, objective="f1"), constant())
    with pytest.raises(lrs.errors.WorkloadError, match="got 'f1'; reported: accuracy, error"):
        next(training)
