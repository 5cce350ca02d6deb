"""What is random in a training comes from its seed alone, and stays in it."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lr_search as lrs


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(make_workload, constant, trained, same_bits):
    workload = make_workload()
    (_, first, one), (_, second, two), (_, third, other) = (trained(workload, constant(), seed=s) for s in (3, 3, 4))
    assert same_bits(one, two)
    assert repr(first) == repr(second)
    assert not same_bits(one, other)
    assert repr(first) != repr(third)


def test_every_lr_sees_the_same_initial_weights_batches_and_dropout_masks(make_workload, constant, examples):
    def record(lr):
        seen = []

        def loss(model, batch):
            inputs, classes = batch
            if not model.training:
                return nn.functional.cross_entropy(model(inputs), classes)
            mask = nn.functional.dropout(torch.ones(8))  # what the model's own dropout would have drawn next
            seen.append((inputs.tolist(), mask.tolist(), random.random(), np.random.random()))  # noqa: NPY002
            return nn.functional.cross_entropy(model(inputs), classes)

        training = lrs.train(make_workload(loss=loss), constant(lr), seed=1)
        initial = [parameter.tolist() for parameter in training.model.parameters()]
        last = list(training)[-1]
        return initial, seen, last.metrics["loss"]

    (initial, seen, low), (other_initial, other_seen, high) = record(1e-4), record(0.3)
    assert initial == other_initial
    assert len(seen) == 20
    assert seen == other_seen
    assert len({str(batch) for batch, *_ in seen}) == 20  # it is shuffled anew in each pass
    assert low != high


@pytest.mark.parametrize("generator_of_its_own", [False, True])
def test_eval_every_changes_no_weight(make_workload, constant, trained, same_bits, examples, generator_of_its_own):
    shared = torch.Generator().manual_seed(1) if generator_of_its_own else None
    data = TensorDataset(*examples)
    loaders = {
        "train_data": lambda: DataLoader(data, batch_size=8, shuffle=True, generator=shared),
        "valid_data": lambda: DataLoader(data, batch_size=8, shuffle=True, generator=shared),
    }
    results = [trained(make_workload(eval_every=n, **loaders), constant())[1:] for n in (1, 3, 7, 20)]
    for evaluations, final in results[1:]:
        assert same_bits(results[0][1], final)
        assert evaluations[-1].metrics == results[0][0][-1].metrics


def test_what_other_code_draws_between_evaluations_changes_nothing(
    make_workload, constant, trained, weights, same_bits
):
    _, undisturbed, expected = trained(make_workload(), constant())
    training, evaluations = lrs.train(make_workload(), constant()), []
    for evaluation in training:
        evaluations.append(evaluation)
        torch.manual_seed(99)
        torch.rand(5), np.random.rand(5), random.random()  # noqa: NPY002
    assert repr(evaluations) == repr(undisturbed)
    assert same_bits(weights(training.model), expected)


def test_the_callers_random_state_is_left_as_it_was(make_workload, constant, seed_all, global_rng):
    seed_all(5)
    before = global_rng()
    training = lrs.train(make_workload(), constant())
    assert global_rng() == before
    for _ in training:
        assert global_rng() == before
    assert global_rng() == before


def test_the_callers_random_state_is_left_as_it_was_when_the_loss_raises(
    make_workload, constant, seed_all, global_rng, cross_entropy
):
    calls = []

    def loss(model, batch):
        calls.append(torch.rand(1))
        if len(calls) == 10:
            raise RuntimeError("out of luck")
        return cross_entropy(model, batch)

    seed_all(5)
    before = global_rng()
    with pytest.raises(RuntimeError, match="out of luck"):
        list(lrs.train(make_workload(loss=loss), constant()))
    assert global_rng() == before


def test_two_interleaved_trainings_equal_the_two_one_after_the_other(
    make_workload, constant, trained, weights, same_bits, examples
):
    loader = DataLoader(TensorDataset(*examples), 8, shuffle=True, generator=torch.Generator().manual_seed(3))
    for changes in ({}, {"train_data": lambda: loader}):  # the second share one loader and its generator
        workload = make_workload(**changes)
        apart = [trained(workload, constant(lr), seed=seed) for lr, seed in ((0.05, 0), (0.2, 1))]
        together = [lrs.train(workload, constant(lr), seed=seed) for lr, seed in ((0.05, 0), (0.2, 1))]
        evaluations = list(zip(*together, strict=True))
        for i in range(2):
            assert repr([pair[i] for pair in evaluations]) == repr(apart[i][1])
            assert same_bits(weights(together[i].model), apart[i][2])


@pytest.mark.parametrize("generator_of_its_own", [False, True])
def test_every_evaluation_sees_the_same_shuffled_validation_batches(
    make_workload, constant, examples, generator_of_its_own
):
    own = torch.Generator().manual_seed(1) if generator_of_its_own else None
    seen = []

    def metrics(model, batch):
        seen.append(batch[0].tolist())
        return {"loss": torch.rand(())}

    workload = make_workload(
        metrics=metrics,
        valid_data=lambda: DataLoader(TensorDataset(*examples), batch_size=25, shuffle=True, generator=own),
    )
    evaluations = list(lrs.train(workload, constant()))
    assert seen == seen[:3] * 5
    assert len({e.metrics["loss"] for e in evaluations}) == 1
    assert sorted(sum(row) for batch in seen[:3] for row in batch) == sorted(sum(row) for row in examples[0].tolist())
    assert seen[0] != examples[0][:25].tolist()
    if own is not None:  # nor does it matter where other code leaves the loader's generator
        torch.rand(5, generator=own)
        again = list(lrs.train(workload, constant()))
        assert seen == seen[:3] * 10
        assert repr(again) == repr(evaluations)
