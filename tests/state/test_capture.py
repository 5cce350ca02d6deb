"""Capturing and restoring all that a training changes, the random states, and the writing of LRs."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from lr_search.errors import InvalidInputError, WorkloadError
from lr_search.optimizers.param_groups import group_ratios, set_lr, set_momentum
from lr_search.rng import RNGState, preserved_rng, seed_everything
from lr_search.state.capture import capture, device_of, preserved_modes

CPU = torch.device("cpu")


class Net(nn.Module):
    """With everything that a training may change."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("calls", torch.zeros(1), persistent=False)
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("expanded", torch.ones(1).expand(5))
        self.register_buffer("sparse", torch.eye(3).to_sparse())

    def forward(self, inputs):
        self.calls += 1
        self.replaced = self.replaced + 1
        return self.frozen(self.body(inputs))


OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.01),
    "adam with a tensor lr": lambda params: torch.optim.Adam(params, lr=torch.tensor(0.01), capturable=False),
    "lbfgs": lambda params: torch.optim.LBFGS(params, lr=0.1, history_size=3),
}


def step(model, optimizer, count=1):
    for _ in range(count):

        def closure():
            optimizer.zero_grad()
            loss = model(torch.randn(6, 4)).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)


def everything(model, optimizer):
    """All of it as plain numbers."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return value.detach().to_dense().tolist()
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return {
        "weights": plain(dict(model.named_parameters())),
        "buffers": plain(dict(model.named_buffers())),
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "state": [plain(optimizer.state[p]) for p in model.parameters() if p in optimizer.state],
        "groups": [plain({k: v for k, v in group.items() if k != "params"}) for group in optimizer.param_groups],
    }


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("before", [0, 3])
def test_restore_puts_back_everything_and_training_goes_on_with_the_same_bits(name, before, global_rng):
    def train(disturbed):
        seed_everything(0)
        model = Net()
        optimizer = OPTIMIZERS[name]([p for p in model.parameters() if p.requires_grad])
        step(model, optimizer, before)
        if disturbed:
            stood, drawn = everything(model, optimizer), global_rng()
            captured = capture(model, optimizer)
            disturb(model, optimizer)
            assert everything(model, optimizer) != stood
            captured.restore()
            assert everything(model, optimizer) == stood
            assert global_rng() == drawn
        step(model, optimizer, 5)
        return everything(model, optimizer), global_rng()

    assert train(disturbed=True) == train(disturbed=False)


def disturb(model, optimizer):
    step(model, optimizer, 4)
    set_lr(optimizer, 7.0, [1.0])
    optimizer.param_groups[0]["extra"] = 1
    model.frozen.weight.data.add_(1)
    model.frozen.requires_grad_(True)
    model.body[0].bias.requires_grad_(False)
    model.body[1].eval()
    model.register_buffer("new", torch.ones(1))
    random.random(), np.random.rand()  # noqa: NPY002


def test_restore_writes_into_the_same_tensors():
    model = Net()
    optimizer = OPTIMIZERS["adam with a tensor lr"](model.body.parameters())
    step(model, optimizer)

    def identities():
        state = [id(value) for p in model.body.parameters() for value in optimizer.state[p].values()]
        tensors = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
        return state, [id(tensor) for tensor in tensors], id(optimizer.param_groups[0]["lr"])

    held = [p.grad for p in model.parameters()]
    before, numbers = identities(), everything(model, optimizer)
    captured = capture(model, optimizer)
    for gradient in held:
        if gradient is not None:
            gradient.zero_()
    step(model, optimizer, 3)
    optimizer.param_groups[0]["lr"].fill_(9.0)
    captured.restore()
    assert identities() == before
    assert everything(model, optimizer) == numbers


def test_restore_puts_back_parameters_that_only_the_optimizer_has():
    model, extra = nn.Linear(2, 1), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([*model.parameters(), extra], lr=0.1)
    captured = capture(model, optimizer)
    extra.square().sum().backward()
    optimizer.step()
    assert extra.tolist() != [1, 1, 1]
    captured.restore()
    assert extra.tolist() == [1, 1, 1]
    assert extra.grad is None


@pytest.mark.parametrize("interrupted", [False, True])
def test_restore_puts_back_a_scaler(interrupted):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)

    def scaled_step(poison=0.0):
        optimizer.zero_grad()
        scaler.scale(model(torch.ones(3, 2)).mean() + poison * model.weight.sum()).backward()
        scaler.unscale_(optimizer)
        if not interrupted:
            scaler.step(optimizer)
            scaler.update()

    scaler.scale(torch.ones(1))
    stood = scaler.state_dict()
    captured = capture(model, optimizer, scaler)
    scaled_step(float("inf"))  # halves the scale; or Ctrl-C came between unscale_ and update
    captured.restore()
    assert scaler.state_dict() == stood
    interrupted = False
    for _ in range(2):
        scaled_step()
    assert scaler.get_scale() == 512.0  # two good steps double it


def test_restore_knows_that_gradients_were_unscaled():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    before = model.weight.detach().clone()
    scaler.scale(model(torch.ones(3, 2)).sum()).backward()
    scaler.unscale_(optimizer)
    captured = capture(model, optimizer, scaler)
    scaler.step(optimizer)
    scaler.update()
    captured.restore()
    scaler.step(optimizer)  # were it to unscale again, the step would be 256 times too short
    assert torch.equal(model.weight.detach(), before - 3)


def test_preserved_rng_puts_the_global_states_back_also_after_an_exception(global_rng):
    seed_everything(4)
    before = global_rng()

    def draw():
        with preserved_rng(CPU):
            random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
            assert global_rng() != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw()
    assert global_rng() == before


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**40])
def test_seed_everything_seeds_all_three(seed, seed_all, global_rng):
    seed_everything(seed)
    one = global_rng()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    assert global_rng() == one
    seed_everything(seed + 1)
    assert all(a != b for a, b in zip((one[0], one[2], one[4]), global_rng()[::2], strict=True))


def test_a_random_state_survives_its_plain_form(global_rng, tmp_path):
    seed_everything(4)
    random.gauss(0, 1), np.random.randn()  # noqa: NPY002  both keep a second number for the next call
    before = global_rng()
    torch.save(RNGState.capture(CPU).plain(), tmp_path / "rng.pt")
    seed_everything(5)
    RNGState.from_plain(torch.load(tmp_path / "rng.pt", weights_only=True), CPU).restore()
    assert global_rng() == before


def test_preserved_modes_puts_each_submodules_mode_back():
    model = Net()
    model.body[1].eval()
    before = [module.training for module in model.modules()]

    def use():
        with preserved_modes(model):
            model.eval()
            assert not any(module.training for module in model.modules())
            raise LookupError

    with pytest.raises(LookupError):
        use()
    assert [module.training for module in model.modules()] == before


def optimizer_of(*groups, kind=torch.optim.SGD, **defaults):
    return kind([{"params": [nn.Parameter(torch.zeros(1))], **group} for group in groups], lr=0.1, **defaults)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([{}], [1.0]),
        ([{"lr": 0.2}, {"lr": 0.1}, {"lr": 0.0}], [1.0, 0.5, 0.0]),
        ([{"lr": torch.tensor(0.5)}, {"lr": torch.tensor(1.0)}], [1.0, 2.0]),
        ([{"lr": 0.0, "initial_lr": 0.4}, {"lr": 0.0, "initial_lr": 0.1}], [1.0, 0.25]),  # at a warm-up's first step
    ],
)
def test_group_ratios_are_to_the_first(groups, expected):
    assert group_ratios(optimizer_of(*groups)) == pytest.approx(expected)


def test_a_first_group_without_an_lr_to_compare_with_is_refused():
    with pytest.raises(InvalidInputError, match=r"must be positive .* but got lr=0\.0"):
        group_ratios(optimizer_of({"lr": 0.0}, {"lr": 0.1}))


def test_set_lr_writes_each_groups_share_and_keeps_tensors():
    tensor = torch.tensor(0.5)
    optimizer = optimizer_of({"lr": tensor}, {"lr": 0.1})
    set_lr(optimizer, 3.0, [1.0, 0.5])
    assert optimizer.param_groups[0]["lr"] is tensor
    assert [float(group["lr"]) for group in optimizer.param_groups] == [3.0, 1.5]


@pytest.mark.parametrize(
    ("kind", "defaults", "read", "expected"),
    [
        (torch.optim.SGD, {"momentum": 0.9}, lambda g: g["momentum"], 0.7),
        (torch.optim.Adam, {"betas": (0.9, 0.99)}, lambda g: g["betas"], (0.7, 0.99)),
        (torch.optim.Adagrad, {}, lambda g: "momentum" in g, False),
    ],
)
def test_set_momentum_sets_the_momentum_or_the_first_beta(kind, defaults, read, expected):
    optimizer = optimizer_of({}, {}, kind=kind, **defaults)
    set_momentum(optimizer, 0.7)
    assert [read(group) for group in optimizer.param_groups] == [expected] * 2


def test_a_model_without_parameters_has_no_device():
    assert device_of(nn.Linear(1, 1)) == CPU
    with pytest.raises(WorkloadError, match="must have parameters to train, but got none"):
        device_of(nn.ReLU())


def test_a_tensor_that_hangs_on_a_parameter_comes_back_where_it_was_replaced():
    model = nn.Linear(2, 2)
    model.weight.mask = mask = torch.ones(2)
    captured = capture(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model.weight.mask = torch.zeros(2)
    model.weight.other = torch.zeros(2)
    captured.restore()
    assert model.weight.mask is mask
    assert not hasattr(model.weight, "other")
