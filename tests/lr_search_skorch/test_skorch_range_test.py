"""The range test of a skorch net: what it records, what it sets, and that it leaves no other trace."""

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError

pytestmark = pytest.mark.trainers

EPOCHS, BATCH = 3, 20


def data():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 4)).astype("float32")
    return inputs, (inputs[:, 0] > 0).astype("int64")


def module():
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2))


def net(callbacks, seed=0, **settings):
    from skorch import NeuralNetClassifier

    if seed is not None:
        torch.manual_seed(seed)
    settings = {"lr": 0.01, "optimizer": torch.optim.SGD, "iterator_train__shuffle": True, **settings}
    return NeuralNetClassifier(
        module(), criterion=nn.CrossEntropyLoss, max_epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=callbacks,
        **settings,
    )  # fmt: skip


def losses(fitted):
    return fitted.history[:, ("train_loss", "valid_loss")]


@pytest.fixture(scope="module")
def fitted():
    from lr_search_skorch import RangeTest

    callback = RangeTest(num_steps=40)
    return callback, net([callback]).fit(*data())


def test_the_curve_is_that_of_a_range_test_on_plain_torch_objects(fitted):
    torch.manual_seed(0)
    model = module()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, targets = map(torch.from_numpy, data())
    train = torch.utils.data.TensorDataset(inputs, targets)
    train = torch.utils.data.Subset(train, net([]).get_split_datasets(*data())[0].indices)
    loader = torch.utils.data.DataLoader(train, batch_size=BATCH, shuffle=True)
    loss = nn.CrossEntropyLoss()
    curve = lrs.range_test(model, optimizer, loader, lambda model, batch: loss(model(batch[0]), batch[1]), num_steps=40)
    np.testing.assert_array_equal(fitted[0].curve_.lr, curve.lr)
    np.testing.assert_allclose(fitted[0].curve_.loss, curve.loss, rtol=1e-6)


def test_the_net_then_trains_as_if_it_had_been_built_with_the_lr(fitted):
    callback, trained = fitted
    assert trained.optimizer_.param_groups[0]["lr"] == callback.suggestion_.lr != 0.01
    assert losses(trained) == losses(net([], lr=callback.suggestion_.lr).fit(*data()))


def test_parameter_groups_keep_their_ratio():
    from lr_search_skorch import RangeTest

    callback = RangeTest(num_steps=20, end_lr=1.0)
    fitted = net([callback], optimizer__param_groups=[("0.*", {"lr": 0.03})]).fit(*data())
    first, second = fitted.optimizer_.param_groups
    assert (first["lr"], second["lr"]) == pytest.approx((callback.suggestion_.lr, callback.suggestion_.lr / 3))


def test_the_plan_is_the_nets_epochs_and_the_schedule_that_was_named():
    from lr_search_skorch import RangeTest

    callback = RangeTest(schedule="cosine", num_steps=20)
    net([callback]).fit(*data())
    assert (callback.suggestion_.plan.num_steps, callback.suggestion_.plan.schedule) == (EPOCHS * 8, "cosine")


def test_a_net_with_the_callback_is_cloned_as_scikit_learn_does():
    from sklearn.base import clone

    from lr_search_skorch import RangeTest

    copy = clone(net([RangeTest(num_steps=30)])).callbacks[0]
    assert (copy.num_steps, copy.start_lr) == (30, 1e-7)


def test_it_is_drawn_when_it_has_run(fitted):
    from lr_search_skorch import RangeTest

    assert fitted[0].plot().get_xscale() == "log"
    with pytest.raises(InvalidInputError, match=r"Call net.fit\(X, y\) first"):
        RangeTest().plot()
