"""Snapshots as one model: what it answers, on which data it fails, and its file."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.training.snapshots import Snapshot
from lr_search.workloads.combining import COMBINE

FOUR_CYCLES = lrs.schedules.Triangular(0.01, 0.2, step_size=2.5)  # in 20 steps


@pytest.fixture
def trained_workload(make_workload):
    """A workload with batch norm and dropout, and the snapshots of its 4 cycles."""
    workload = make_workload(combine="softmax")
    training = lrs.train(workload, FOUR_CYCLES, seed=3, snapshots=4)
    list(training)
    return workload, training.snapshots


def outputs_by_hand(workload, snapshots, inputs):
    """Each member's output in double precision, from a model built and loaded here. Returns: (members, examples, classes)."""
    found = []
    for snapshot in snapshots:
        model = workload.model()
        model.load_state_dict(snapshot.weights)
        with torch.no_grad():
            found.append(model.eval()(inputs).double().numpy())
    return np.stack(found)


def softmax(outputs):
    powers = np.exp(outputs - outputs.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def one_weight(value, step=1):
    return Snapshot(step, {"weight": torch.tensor([[float(value)]])})


def lines(model=None, **changes):
    """A workload of one weight and no bias, combined by the mean."""
    return lrs.regression(
        model=model or partial(nn.Linear, 1, 1, bias=False),
        optimizer=torch.optim.SGD,
        train=(torch.ones(8, 1), torch.ones(8, 1)),
        valid=(torch.ones(8, 1), torch.ones(8, 1)),
        batch_size=4,
        device="cpu",
        **changes,
    )


# ---- what it answers ----


def test_the_exponential_is_the_mean_of_the_members_probabilities(trained_workload, examples):
    workload, snapshots = trained_workload
    expected = softmax(outputs_by_hand(workload, snapshots, examples[0]))
    assert expected.std(axis=0).max() > 0.01  # they differ
    found = lrs.SnapshotEnsemble(workload, snapshots)(examples[0]).exp()
    np.testing.assert_allclose(found.numpy(), expected.mean(axis=0), atol=1e-6, rtol=0)


def test_cross_entropy_of_it_is_the_likelihood_of_the_mean_probabilities(trained_workload, examples):
    workload, snapshots = trained_workload
    inputs, classes = examples
    probabilities = softmax(outputs_by_hand(workload, snapshots, inputs)).mean(axis=0)
    expected = -np.log(probabilities[np.arange(len(classes)), classes.numpy()]).mean()
    found = nn.functional.cross_entropy(lrs.SnapshotEnsemble(workload, snapshots)(inputs), classes)
    assert float(found) == pytest.approx(expected, abs=1e-6)
    found = workload.loss(lrs.SnapshotEnsemble(workload, snapshots), examples)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_classes_lie_in_dimension_1_as_cross_entropy_has_them():
    outputs = torch.randn(
        3, 5, 4, 2, 2, generator=torch.Generator().manual_seed(0)
    )  # (members, examples, classes, 2, 2)
    expected = outputs.double().softmax(2).mean(0)
    assert torch.allclose(COMBINE["softmax"](outputs).double().exp(), expected, atol=1e-6)


def test_the_sigmoid_of_it_is_the_mean_sigmoid():
    outputs = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)) * 4
    expected = 1 / (1 + np.exp(-outputs.double().numpy()))
    np.testing.assert_allclose(COMBINE["sigmoid"](outputs).sigmoid().numpy(), expected.mean(axis=0), atol=1e-6)


def test_sure_members_stay_finite():
    # 1 - the mean of the probabilities is (e^-200 + e^-180) / 2 = e^-180 (1 + e^-20) / 2
    assert COMBINE["sigmoid"](torch.tensor([[200.0], [180.0]])).item() == pytest.approx(180 + math.log(2))
    assert COMBINE["sigmoid"](torch.tensor([[-200.0], [-180.0]])).item() == pytest.approx(-180 - math.log(2))
    found = COMBINE["softmax"](torch.tensor([[[0.0, -300.0]], [[0.0, -400.0]]]))
    assert found.tolist() == [[pytest.approx(0.0), pytest.approx(-300 - math.log(2))]]


def test_regressions_are_combined_by_the_mean():
    ensemble = lrs.SnapshotEnsemble(lines(), [one_weight(1), one_weight(2), one_weight(6)])
    assert ensemble(torch.tensor([[1.0], [10.0]])).tolist() == [[3.0], [30.0]]


def test_half_precision_is_combined_in_single():
    outputs = torch.tensor([[1.0], [1.0], [1.0078125]], dtype=torch.bfloat16)
    assert COMBINE["mean"](outputs).item() == pytest.approx(1 + 0.0078125 / 3, rel=1e-6)
    assert all(combine(outputs.reshape(3, 1, 1).repeat(1, 1, 2)).dtype == torch.float32 for combine in COMBINE.values())


def test_a_function_of_the_stacked_outputs():
    ensemble = lrs.SnapshotEnsemble(
        lines(), [one_weight(1), one_weight(2), one_weight(6)], combine=lambda outputs: outputs.median(0).values
    )
    assert ensemble(torch.ones(4, 1)).tolist() == [[2.0]] * 4
    assert ensemble.member_outputs(torch.ones(4, 1)).tolist() == [[[1.0]] * 4, [[2.0]] * 4, [[6.0]] * 4]


def test_members_may_take_any_arguments():
    class Scaled(nn.Linear):
        def forward(self, x, y, *, scale):
            return super().forward(x + y) * scale

    workload = lines(partial(Scaled, 1, 1, bias=False))
    ensemble = lrs.SnapshotEnsemble(workload, [one_weight(1), one_weight(3)])
    assert ensemble(torch.ones(1, 1), torch.ones(1, 1), scale=5).item() == 20.0


def test_the_last_of_the_snapshots(trained_workload, examples):
    workload, snapshots = trained_workload
    last = lrs.SnapshotEnsemble(workload, snapshots, last=2)
    assert last.steps == [15, 20]
    by_hand = softmax(outputs_by_hand(workload, snapshots[2:], examples[0])).mean(axis=0)
    np.testing.assert_allclose(last(examples[0]).exp().numpy(), by_hand, atol=1e-6)
    assert lrs.SnapshotEnsemble(workload, snapshots).steps == [5, 10, 15, 20]


# ---- as a module ----


def test_it_stays_in_eval_mode_and_needs_no_gradients(trained_workload, examples):
    ensemble = lrs.SnapshotEnsemble(*trained_workload)
    first = ensemble(examples[0])
    assert not any(module.training for module in ensemble.train().modules())
    assert torch.equal(ensemble(examples[0]), first)  # dropout would change it, batch norm its statistics
    assert not first.requires_grad
    inputs = examples[0].clone().requires_grad_()
    ensemble(inputs).sum().backward()
    assert inputs.grad.abs().sum() > 0


def test_its_state_dict_goes_into_another(trained_workload, examples):
    workload, snapshots = trained_workload
    one, other = (lrs.SnapshotEnsemble(workload, chosen) for chosen in (snapshots[:2], snapshots[2:]))
    assert not torch.equal(one(examples[0]), other(examples[0]))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(examples[0]), other(examples[0]))


def test_making_one_leaves_the_random_states_alone(trained_workload, global_rng):
    before = global_rng()
    lrs.SnapshotEnsemble(*trained_workload)
    assert global_rng() == before


class RandomFeatures(nn.Module):
    """Features drawn when it is made, and kept outside of the weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("features", torch.randn(1, 8), persistent=False)
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        return self.out((x @ self.features).cos())


def test_what_a_model_drew_when_it_was_made_comes_back(tmp_path):
    workload = lines(RandomFeatures, num_steps=6)
    training = lrs.train(workload, lrs.schedules.SGDR(0.0, 0.1, T_0=6), seed=11, snapshots=1)
    list(training)
    inputs = torch.randn(5, 1)
    expected = training.model.eval()(inputs)
    ensemble = lrs.SnapshotEnsemble(workload, training.snapshots)
    assert torch.equal(ensemble(inputs), expected)
    ensemble.save(tmp_path / "ensemble.pt")
    assert torch.equal(lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", workload)(inputs), expected)
    assert torch.equal(lrs.average_weights(workload, training.snapshots)(inputs), expected)


# ---- its file ----


def test_a_file_gives_the_same_answers_and_loads_weights_only(trained_workload, examples, tmp_path):
    workload, snapshots = trained_workload
    ensemble = lrs.SnapshotEnsemble(workload, snapshots, last=3)
    ensemble.save(tmp_path / "ensemble.pt")
    assert len(torch.load(tmp_path / "ensemble.pt", weights_only=True)["members"]) == 3
    loaded = lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", workload)
    assert torch.equal(loaded(examples[0]), ensemble(examples[0]))
    assert (loaded.steps, loaded.combine) == ([10, 15, 20], "softmax")


def test_a_loaded_one_combines_as_it_was_saved_unless_told_otherwise(tmp_path):
    both = [one_weight(1), one_weight(4)]
    lrs.SnapshotEnsemble(lines(), both, combine="sigmoid").save(tmp_path / "ensemble.pt")
    assert lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", lines()).combine == "sigmoid"
    again = lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", lines(), combine="mean")
    assert again(torch.ones(1, 1)).item() == 2.5


def largest(outputs):
    return outputs.amax(0)


def test_a_function_is_asked_for_again(tmp_path):
    lrs.SnapshotEnsemble(lines(), [one_weight(1), one_weight(4)], combine=largest).save(tmp_path / "ensemble.pt")
    with pytest.raises(lrs.errors.InvalidInputError, match=r"combine must be given again.* Pass combine="):
        lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", lines())
    for loaded in (
        lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", lines(), combine=largest),
        lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", lines(combine=largest)),
    ):
        assert loaded(torch.ones(1, 1)).item() == 4.0


@pytest.mark.parametrize("content", ["nothing", "text", "other", "list"])
def test_another_file_is_refused(content, tmp_path):
    path = tmp_path / "ensemble.pt"
    if content == "text":
        path.write_text("hello")
    elif content != "nothing":
        torch.save({"weight": torch.ones(1)} if content == "other" else [1, 2], path)
    with pytest.raises(lrs.errors.InvalidInputError, match=r"path must be a file that SnapshotEnsemble\.save wrote"):
        lrs.SnapshotEnsemble.load(path, lines())


def test_weights_of_another_model_are_refused(tmp_path):
    lrs.SnapshotEnsemble(lines(), [one_weight(1)]).save(tmp_path / "ensemble.pt")
    with pytest.raises(lrs.errors.WorkloadError, match="the workload's own model, but their weights do not fit"):
        lrs.SnapshotEnsemble.load(tmp_path / "ensemble.pt", lines(partial(nn.Linear, 2, 1)))


def test_a_folder_that_does_not_exist_is_an_output_error(tmp_path):
    with pytest.raises(lrs.errors.OutputError, match="must go to a file that can be written"):
        lrs.SnapshotEnsemble(lines(), [one_weight(1)]).save(tmp_path / "none" / "ensemble.pt")


# ---- bad input ----


@pytest.mark.parametrize(
    ("snapshots", "options", "message"),
    [
        ([], {}, r"at least 1 snapshot, but got snapshots=\[\]\. Train with lrs.train\(\.\.\., snapshots=n\)"),
        (3, {}, "snapshots must be a sequence of lr_search.Snapshots, but got 3"),
        ([{"weight": 1}], {}, "must be a sequence of lr_search.Snapshots"),
        ([one_weight(1)], {"last": 2}, "from 1 to the 1 snapshots there are, or None, but got last=2"),
        ([one_weight(1)], {"last": 0}, "but got last=0"),
        ([one_weight(1)], {"last": 1.0}, "last must be a whole number or None, but got 1.0"),
    ],
)
@pytest.mark.parametrize("use", [lrs.SnapshotEnsemble, lrs.average_weights])
def test_bad_snapshots_are_refused(use, snapshots, options, message):
    with pytest.raises(lrs.errors.InvalidInputError, match=message):
        use(lines(), snapshots, **options)


def test_an_unknown_way_to_combine_is_refused():
    with pytest.raises(
        lrs.errors.InvalidInputError,
        match="combine must be 'softmax', 'sigmoid', 'mean', a function or None, but got 'softmin'",
    ):
        lrs.SnapshotEnsemble(lines(), [one_weight(1)], combine="softmin")


def test_nothing_that_says_how_to_combine_is_refused(make_workload):
    workload = make_workload()
    assert workload.combine is None
    training = lrs.train(workload, FOUR_CYCLES, snapshots=2)
    list(training)
    with pytest.raises(lrs.errors.InvalidInputError, match=r"combine must say how .*combine='softmax'"):
        lrs.SnapshotEnsemble(workload, training.snapshots)


@pytest.mark.parametrize("combine", ["softmin", 3])
def test_a_workload_refuses_an_unknown_way_to_combine(make_workload, combine):
    with pytest.raises(lrs.errors.InvalidInputError, match="combine must be 'softmax'"):
        make_workload(combine=combine)


def test_the_usual_workloads_know_how_to_combine():
    assert lines().combine == "mean"
    assert lines(combine=None).combine is None
    data = torch.randn(8, 2), torch.arange(8) % 2
    settings = {"model": partial(nn.Linear, 2, 2), "optimizer": torch.optim.SGD, "train": data, "valid": data}
    assert lrs.classification(**settings).combine == "softmax"
    assert lrs.classification(**settings, combine="mean").combine == "mean"


class Wrapped(nn.Linear):
    def forward(self, x):
        return {"logits": super().forward(x)}


class Ragged(nn.Linear):
    def forward(self, x):
        return super().forward(x)[: int(self.weight)]


@pytest.mark.parametrize(("model", "came"), [(Wrapped, "but got dict"), (Ragged, r"\(1, 1\), \(2, 1\)")])
def test_outputs_that_cannot_be_stacked_are_refused(model, came):
    ensemble = lrs.SnapshotEnsemble(lines(partial(model, 1, 1, bias=False)), [one_weight(1), one_weight(2)])
    with pytest.raises(lrs.errors.WorkloadError, match=f"combine works on .*{came}.* Let the workload's model return"):
        ensemble(torch.ones(2, 1))


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_softmax_over_no_classes_is_refused(shape):
    with pytest.raises(lrs.errors.InvalidInputError, match=r"at least 2 classes.* Combine single logits by 'sigmoid'"):
        COMBINE["softmax"](torch.zeros(3, *shape))
