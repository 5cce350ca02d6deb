"""A range test whose steps move no weight is an error that says why; steps too small to see are none."""

import pytest
import torch
from torch import nn

import lr_search as lrs


@pytest.fixture
def batches(examples):
    return [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(7)]


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


class HeldBack(torch.optim.SGD):
    """Skips its steps as accelerate's AcceleratedOptimizer does while gradients are accumulated."""

    def __init__(self, params, sync_gradients):
        super().__init__(params, lr=0.1)
        self.gradient_state = type("GradientState", (), {})()
        self.gradient_state.sync_gradients = sync_gradients

    def step(self, closure=None):
        if self.gradient_state.sync_gradients:
            super().step(closure)


class Idle(torch.optim.SGD):
    def step(self, closure=None):
        pass


def scaler(init_scale):
    return torch.amp.GradScaler("cpu", init_scale=init_scale, backoff_factor=0.9)


def half_frozen(model):
    """The group that is trained has lr 0, that of the others another."""
    model.bias.requires_grad_(False)
    return torch.optim.SGD([{"params": [model.bias], "lr": 0.1}, {"params": [model.weight], "lr": 0.0}])


OTHER = nn.Linear(6, 3)
CASES = {
    "accelerate accumulates": (
        lambda model: HeldBack(model.parameters(), False),
        loss,
        None,
        "accelerate holds .*False",
    ),
    "a loss of another model": (
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        lambda model, batch: loss(OTHER, batch),
        None,
        "no parameter of",
    ),
    "lr of 0": (half_frozen, loss, None, "an lr of 0, and groups keep the ratios"),
    "no gradient": (
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        lambda model, batch: 0 * loss(model, batch),
        None,
        "the gradient was exactly 0",
    ),
    "skipped": (
        lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        loss,
        1e38,
        "the GradScaler skipped every step, .* are not finite",
    ),
    "idle": (lambda model: Idle(model.parameters(), lr=0.1), loss, None, r"the step\(\) of Idle changed no parameter"),
}


@pytest.mark.parametrize("case", CASES)
def test_steps_that_move_nothing_are_an_error_that_says_why(batches, seed_all, case):
    optimizer, loss, scale, why = CASES[case]
    seed_all(0)
    model = nn.Linear(6, 3)
    optimizer = optimizer(model)
    loss_of = loss if scale is None else lambda model, batch: 100 * loss(model, batch)
    lr, weights = [group["lr"] for group in optimizer.param_groups], model.weight.tolist()
    with pytest.raises(lrs.errors.WorkloadError, match=why):
        lrs.range_test(
            model, optimizer, batches, loss_of, num_steps=20, scaler=None if scale is None else scaler(scale)
        )
    assert [group["lr"] for group in optimizer.param_groups] == lr
    assert model.weight.tolist() == weights


def test_all_frozen(batches):
    model, head = nn.Linear(6, 3).requires_grad_(False), nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(lrs.errors.WorkloadError, match="all parameters of the optimizer are frozen"):
        lrs.range_test(model, optimizer, batches, lambda m, b: loss(lambda x: head(m(x)), b), num_steps=20)


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (lambda model: HeldBack(model.parameters(), True), {}),
        # the first step is none
        (lambda model: torch.optim.SGD(model.parameters(), lr=0.1), {"start_lr": 0.0, "end_lr": 1.0, "ramp": "linear"}),
        # every step is below the last bit of the weights
        (lambda model: torch.optim.SGD(model.parameters(), lr=0.1), {"start_lr": 1e-14, "end_lr": 1e-12}),
        # only one of the groups is frozen
        (lambda model: torch.optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.0}], lr=0.1), {}),
        # the scale is too large at first only
        (
            lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
            {"scaler": torch.amp.GradScaler("cpu", init_scale=1e38, backoff_factor=1e-3)},
        ),
    ],
    ids=["steps", "lr of 0 at first", "below rounding", "a group of lr 0", "a scale that falls"],
)
def test_steps_that_do_little_are_none(batches, seed_all, optimizer, options):
    seed_all(0)
    model = nn.Linear(6, 3)
    scaled = "scaler" in options
    curve = lrs.range_test(
        model, optimizer(model), batches, lambda m, b: (100 if scaled else 1) * loss(m, b), num_steps=20, **options
    )
    assert len(curve.lr) > 5


def test_an_optimizer_that_clears_its_gradients_does_move(batches, seed_all):
    class Clearing(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.zero_grad()

    seed_all(0)
    model = nn.Linear(6, 3)
    curve = lrs.range_test(model, Clearing(model.parameters(), lr=0.1), batches, loss, num_steps=20, gain_ratio=False)
    assert curve.num_steps > 5


# ---- layers that the first forward pass makes ----


class Grown(nn.Module):
    """Its head is made when it is first called."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 4), None

    def forward(self, inputs):
        outputs = self.body(inputs)
        if self.head is None:
            self.head = nn.Linear(4, 3)
            self.shift = nn.Parameter(torch.zeros(3))
        return self.head(outputs) + self.shift


def test_layers_that_appear_in_the_first_pass_are_named_and_taken_away(batches, seed_all):
    seed_all(0)
    model = Grown()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    drawn = torch.get_rng_state()
    with pytest.raises(lrs.errors.WorkloadError, match=r"made others: shift, head\.weight, head\.bias\. Pass a batch"):
        lrs.range_test(model, optimizer, batches, loss, num_steps=20)
    assert [name for name, _ in model.named_parameters()] == ["body.weight", "body.bias"]
    assert model.head is None
    assert not hasattr(model, "shift")
    assert torch.equal(torch.get_rng_state(), drawn)


def test_a_training_names_them_too(make_workload, constant):
    with pytest.raises(lrs.errors.WorkloadError, match=r"made others: shift, head\.weight, head\.bias"):
        list(lrs.train(make_workload(model=Grown), constant()))


@pytest.mark.parametrize("gain_ratio", [True, False])
def test_lazy_layers_that_the_optimizer_holds_are_lazy_again(batches, seed_all, gain_ratio):
    def losses(tested):
        seed_all(0)
        model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Linear(4, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        if tested:
            curve = lrs.range_test(model, optimizer, batches, loss, num_steps=20, gain_ratio=gain_ratio)
            assert (curve.gain_ratio is not None) == gain_ratio
            assert isinstance(model[0], nn.LazyLinear)
            assert isinstance(model[0].weight, nn.UninitializedParameter)
        values = []
        for batch in batches:
            optimizer.zero_grad()
            value = loss(model, batch)
            value.backward()
            optimizer.step()
            values.append(value.item())
        return values

    assert losses(tested=True) == losses(tested=False)


def test_a_workload_with_lazy_layers_is_tested(make_workload):
    workload = make_workload(model=lambda: nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 3)))
    curve, known = (
        workload.range_test(num_steps=20),
        make_workload(model=lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))).range_test(num_steps=20),
    )
    # the relative update is per weight: as many are counted
    assert (curve.metrics["rms_update"] > 0).all()
    assert curve.metrics.keys() == known.metrics.keys()
