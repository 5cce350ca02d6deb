"""A loss that is not finite by a batch's fault is told apart from a divergence, with the batch's number, wherever batches are trained on."""

import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import WorkloadError
from lr_search.fused.lane import Member
from lr_search.fused.support import support_of
from lr_search.fused.trials import FusedTraining

IGNORED = -100  # torch's ignore_index
BATCHES, CLASSES = 6, 3
SPOILED = (3, 7, 11, 15)


def good_batches():
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(8, 5, generator=generator), torch.randint(0, CLASSES, (8,), generator=generator))
        for _ in range(BATCHES)
    ]


def no_labels(batch):
    return batch[0], torch.full_like(batch[1], IGNORED)


def nan_inputs(batch):
    return batch[0].index_fill(1, torch.tensor([2]), float("nan")), batch[1]


def with_bad(number, spoil=no_labels):
    """Good batches, but for one of this number, from 1."""
    batches = good_batches()
    batches[number - 1] = spoil(batches[number - 1])
    return batches


def workload(train=None, valid=None, **changes):
    train, valid = (good_batches() if given is None else given for given in (train, valid))
    settings = {
        "model": lambda: nn.Linear(5, CLASSES), "optimizer": torch.optim.SGD,
        "loss": lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        "train_data": lambda: train, "valid_data": lambda: valid,
        "num_steps": 12, "eval_every": 4, "device": "cpu",
    }  # fmt: skip
    return lrs.Workload(**(settings | changes))


def train(work):
    return list(lrs.train(work, lrs.schedules.Constant(0.1)))


def train_fused(work):
    support = [support_of(work, 0)] * 2
    members = [Member(work, lrs.schedules.Constant(lr)) for lr in (0.1, 0.2)]
    return list(FusedTraining(members, 0, support))


def range_test(work):
    return work.range_test(start_lr=1e-5, end_lr=0.1, num_steps=20)


def range_tests(work):
    return work.range_test(seeds=2, start_lr=1e-5, end_lr=0.1, num_steps=20)


def live_range_test(work):
    model, optimizer = work.build()
    return lrs.range_test(model, optimizer, work.train_data(), work.loss, start_lr=1e-5, end_lr=0.1, num_steps=20)


def range_test_within(work):
    return lrs.train(work, lrs.schedules.Constant(0.1)).range_test(start_lr=1e-5, end_lr=0.1, num_steps=20)


WAYS = pytest.mark.parametrize("way", [train, train_fused, range_test, range_tests, live_range_test, range_test_within])


@WAYS
@pytest.mark.parametrize("spoil", [no_labels, nan_inputs])
@pytest.mark.parametrize("number", [1, 2, BATCHES])
def test_a_batch_without_a_loss_is_told_by_its_number(way, number, spoil):
    with pytest.raises(
        WorkloadError, match=rf"must be finite, but is nan on batch {number} of pass 1 over .*not the learning"
    ):
        way(workload(with_bad(number, spoil)))


@WAYS
def test_of_several_batches_a_step_it_is_the_one(way):
    with pytest.raises(WorkloadError, match="is nan on batch 4 of pass 1"):
        way(workload(with_bad(4), accumulate=3))


@WAYS
def test_a_batch_whose_gradient_is_not_finite_is_told_though_the_next_loss_shows_it(way):
    def loss(model, batch):  # the norm of zeros has no gradient
        distance = (model(batch[0]) - batch[1][:, None]).square().sum(dim=1)
        return (distance * batch[1][:, None].ne(0).any()).sqrt().mean()

    batches = [(inputs, torch.ones(8)) for inputs, _ in good_batches()]
    batches[2] = batches[2][0], torch.zeros(8)
    with pytest.raises(WorkloadError, match="The gradient must be finite, but is not on batch 3 of pass 1"):
        way(workload(batches, batches[:2], loss=loss))


@WAYS
def test_where_every_batch_is_so_that_is_said(way):
    with pytest.raises(WorkloadError, match=r"is nan on the first batch of .* and on the next, before any step"):
        way(workload([no_labels(batch) for batch in good_batches()]))


def test_a_batch_of_a_later_pass_is_drawn_again_in_the_order_of_that_pass():
    """A loader that shuffles anew in every pass: the batch is found by its own numbers."""
    drawn = []

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, index):
            drawn.append(index)
            spoiled = len(drawn) > 2 * 24 and index in SPOILED  # from the third pass on, and when it is replayed
            return torch.tensor([1.0, float("nan") if spoiled else 0.5])

    loader = torch.utils.data.DataLoader(Data(), batch_size=4, shuffle=True)
    work = workload(
        model=lambda: nn.Linear(2, 1), train_data=lambda: loader, valid_data=lambda: [torch.ones(4, 2)],
        loss=lambda model, batch: model(batch).square().mean(), num_steps=30,
    )  # fmt: skip
    with pytest.raises(WorkloadError, match=r"is nan on batch (\d) of pass 3") as caught:
        train(work)
    first_bad = next(place for place, index in enumerate(drawn[48:]) if index in SPOILED) // 4 + 1
    assert f"on batch {first_bad} of pass 3" in str(caught.value)


@pytest.mark.parametrize("way", [train, train_fused])
@pytest.mark.parametrize("number", [1, 2, BATCHES])
def test_validation_data_without_a_value_are_told_before_the_first_step(way, number):
    with pytest.raises(
        WorkloadError, match=f"loss must be finite before the first step, but is nan on batch {number} of the valid"
    ):
        way(workload(valid=with_bad(number)))


def test_a_metric_that_counted_nothing_yet_is_no_fault():
    """Precision, where an untrained model predicts nothing."""
    metrics = lambda model, batch: {"loss": 1.0, "precision": (torch.tensor(0.0), 0.0)}  # noqa: E731
    evaluations = train(workload(metrics=metrics, objective="precision", direction="maximize"))
    assert len(evaluations) == 4


@pytest.mark.parametrize("lr", [1e3, 1e20, 1e38])
def test_a_divergence_stays_one(lr):
    training = lrs.train(workload(loss=lambda model, batch: model(batch[0]).pow(4).mean()), lrs.schedules.Constant(lr))
    list(training)
    assert training.stopped == "diverged"


def test_looking_for_it_leaves_the_random_states_alone():
    training = lrs.train(
        workload(loss=lambda model, batch: model(batch[0]).pow(4).mean()), lrs.schedules.Constant(1e20)
    )
    before = torch.get_rng_state()
    list(training)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_exception_of_the_batch_is_the_users_own():
    def loss(model, batch):
        if batch[0].isnan().any():
            raise ArithmeticError("mine")
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    for way in (train, range_test):
        with pytest.raises(ArithmeticError, match="mine"):
            way(workload(with_bad(4, nan_inputs), loss=loss))


@pytest.mark.parametrize("executor", [lrs.LocalExecutor(), lrs.FusedExecutor()], ids=["local", "fused"])
def test_a_comparison_stops_with_it(executor, tmp_path):
    with pytest.raises(WorkloadError, match="is nan on batch 5 of pass 1"):
        lrs.compare(
            workload(with_bad(5)), strategies=["random", "range_test"], budget=4, seeds=1, executor=executor,
            range_test={"num_steps": 20}, storage=f"sqlite:///{tmp_path}/a.db", name="a",
        )  # fmt: skip
