"""What is captured: once in memory, up to a limit, each part put back by itself; and which objects are looked into."""

import functools
import logging
import queue

import pytest
import torch
from torch import nn

from lr_search.errors import InvalidInputError, RestoreError
from lr_search.state import captured as captured_file
from lr_search.state.capture import capture, restored_afterwards
from lr_search.state.loss_modules import loss_modules


def bytes_of(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def stepped(model, optimizer):
    optimizer.zero_grad()
    model(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(captured_file, "MOST_OTHER_BYTES", 4000)


def test_weights_gradients_and_optimizer_state_are_copied_once_however_many_hold_them():
    model = nn.Sequential(nn.Linear(4, 30), nn.Linear(30, 30), nn.Linear(30, 1))
    model[1].bias = model[0].bias  # tied
    optimizer = torch.optim.Adam(model.parameters())
    stepped(model, optimizer)
    model.views = [
        parameter.detach().t() if parameter.ndim == 2 else parameter.data for parameter in model.parameters()
    ]
    model.wide = model[1].weight.detach()[:1].expand(1000, 30)  # of one row's memory
    optimizer.held = {"slow": list(model.parameters())}
    parameters = list(model.parameters())
    moments = [value for state in optimizer.state.values() for value in state.values()]
    wanted = bytes_of([*parameters, *(p.grad for p in parameters), *moments])
    found = capture(model, optimizer, functions=[lambda model, batch: model(batch)])
    assert found._memory.num_bytes == wanted
    values = [parameter.tolist() for parameter in parameters]
    stepped(model, optimizer)
    found.restore()
    assert [parameter.tolist() for parameter in parameters] == values


def test_parts_of_one_flat_tensor_are_copied_once():
    flat = torch.zeros(100)
    model = nn.Linear(9, 10)
    model.weight.data, model.bias.data = flat[:90].view(10, 9), flat[90:]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.flat = flat
    assert capture(model, optimizer)._memory.num_bytes == 400


def test_beyond_the_limit_it_is_refused_before_anything_is_copied(small_limit):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.images, model.small = torch.zeros(1000, 2), torch.zeros(10)
    with pytest.raises(
        InvalidInputError, match=r"up to 0\.0038 MiB beside .* the largest: model\.images with 0\.0076 MiB"
    ):
        capture(model, optimizer)
    model.images = model.images[:400]  # only what is seen of it
    capture(model, optimizer)
    model.words = {str(number): number for number in range(1000)}
    with pytest.raises(InvalidInputError, match=r"the largest: model\.words"):
        capture(model, optimizer)


def test_as_much_as_the_weights_and_the_optimizers_state_is_always_copied(small_limit):
    model = nn.Linear(2000, 1)
    model.average = [nn.Linear(2000, 1)]
    capture(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model.average.append(nn.Linear(2000, 1))
    with pytest.raises(InvalidInputError, match=r"the largest: model\.average\[[01]\]\.weight"):
        capture(model, torch.optim.SGD(model.parameters(), lr=0.1))


@pytest.mark.parametrize("touched", [False, True])
def test_a_frozen_teacher_that_is_too_large_is_watched(small_limit, touched):
    model, teacher = nn.Linear(4, 1), nn.Linear(2000, 1).requires_grad_(False)
    found = capture(model, torch.optim.SGD(model.parameters(), lr=0.1), functions=[lambda: teacher])
    if not touched:
        found.restore()
        return
    teacher.weight.add_(1)
    with pytest.raises(RestoreError, match=r"teacher\.weight \(RuntimeError: it was written to, and is too large"):
        found.restore()


def test_one_part_that_fails_does_not_keep_the_others_back():
    model = nn.Linear(4, 1)
    model.second, model.calls = torch.zeros(3), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    weights = model.weight.tolist()
    found = capture(model, optimizer)

    stepped(model, optimizer)
    model.second.add_(1)
    model.calls, optimizer.param_groups[0]["lr"] = 5, 10.0
    found._places.insert(0, ("model.first", Failing()))
    with pytest.raises(
        RestoreError, match=r"could not be put back: model\.first \(PermissionError: no\)\. All else was"
    ):
        found.restore()
    assert (model.weight.tolist(), model.second.tolist(), model.calls) == (weights, [0, 0, 0], 0)
    assert (optimizer.param_groups[0]["lr"], len(optimizer.state), model.weight.grad) == (0.1, 0, None)


class Failing:
    def restore(self):
        raise PermissionError("no")


class Interrupted:
    def __init__(self):
        self.tried = 0

    def restore(self):
        self.tried += 1
        if self.tried == 1:
            raise KeyboardInterrupt


def test_ctrl_c_while_it_is_put_back_waits_for_the_rest():
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found, weights = capture(model, optimizer), model.weight.tolist()
    stepped(model, optimizer)
    interrupted = Interrupted()
    found._places.insert(0, ("model", interrupted))
    with pytest.raises(KeyboardInterrupt):
        found.restore()
    assert (interrupted.tried, model.weight.tolist()) == (2, weights)


@pytest.mark.parametrize(
    ("raised", "expected"), [(None, RestoreError), (ValueError, RestoreError), (KeyboardInterrupt, KeyboardInterrupt)]
)
def test_what_could_not_be_put_back_is_said_after_whatever_happened(raised, expected):
    model = nn.Linear(4, 1)
    found = capture(model, torch.optim.SGD(model.parameters(), lr=0.1))
    found._places.append(("model.first", Failing()))

    def run():
        with restored_afterwards(found):
            if raised is not None:
                raise raised("in the middle")

    with pytest.raises(expected) as caught:
        run()
    said = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert any("model.first (PermissionError: no)" in text for text in said)
    assert isinstance(caught.value.__context__, ValueError) == (raised is ValueError)


def test_a_tensor_that_cannot_be_copied_is_refused_by_its_name():
    class Uncopied(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            raise NotImplementedError("on no account")

    model = nn.Linear(4, 1)
    model.strange = torch.zeros(2).as_subclass(Uncopied)
    with pytest.raises(InvalidInputError, match=r"but got model\.strange, a Uncopied: on no account"):
        capture(model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_what_logs_and_what_holds_data_is_left_alone():
    model = nn.Linear(4, 1)
    model.log, model.waiting = logging.getLogger("model"), queue.Queue()
    model.data = torch.utils.data.TensorDataset(torch.zeros(3, 4))
    model.loader, model.stream = torch.utils.data.DataLoader(model.data), iter([1, 2, 3])
    with restored_afterwards(capture(model, torch.optim.SGD(model.parameters(), lr=0.1))):
        model.waiting.put("a line")
        model.data.tensors[0].add_(1)
        assert next(model.stream) == 1
    assert model.waiting.get() == "a line"
    assert model.data.tensors[0].sum() == 12
    assert next(model.stream) == 2


def test_tensors_made_in_inference_mode_are_put_back():
    model = nn.Linear(4, 1)
    with torch.inference_mode():
        model.centre = torch.zeros(2)
    found = capture(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with torch.inference_mode():
        model.centre.add_(1)
    found.restore()
    assert model.centre.tolist() == [0, 0]


# ---- the modules that a loss uses ----

by_name = nn.BCELoss()
model_of_another_question = nn.Linear(3, 3)


class Step:
    def __init__(self):
        self.criterion = nn.HuberLoss()

    def loss(self, model, batch):
        return self.criterion(model(batch), batch)

    def __call__(self, model, batch):
        return self.loss(model, batch)


def test_modules_are_found_wherever_a_function_reaches_them():
    enclosed = nn.L1Loss()

    def inner(value, weight=nn.SmoothL1Loss()):  # noqa: B008
        return enclosed(value, value) + weight(value, value)

    def loss(model, batch, *, scale):
        return (lambda: by_name(scale(model(batch)), batch))() + inner(batch)

    def kinds(function):
        return sorted(type(module).__name__ for module in loss_modules([function]).values())

    assert kinds(functools.partial(loss, scale=nn.Sigmoid())) == ["BCELoss", "L1Loss", "Sigmoid", "SmoothL1Loss"]
    assert kinds(Step().loss) == kinds(Step()) == ["HuberLoss"]
    assert kinds(enclosed) == ["L1Loss"]
    assert loss_modules([None, nn.functional.cross_entropy]) == {}
    # an attribute of that name is another thing
    assert loss_modules([lambda model, batch: model.by_name(batch)]) == {}
