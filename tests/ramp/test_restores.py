"""After a range test everything is as it was, however it ended."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import lr_search as lrs


class Net(nn.Module):
    """Dropout, batch norm, a frozen layer and buffers of every kind."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.still = nn.BatchNorm1d(3).eval()
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.register_buffer("replaced", torch.zeros(2))

    def forward(self, inputs):
        self.calls += 1
        self.replaced = self.replaced + inputs.mean()
        return self.still(self.frozen(self.body(inputs)))


OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda params: torch.optim.Adam(params, lr=0.01),
    "adamw, amsgrad": lambda params: torch.optim.AdamW(params, lr=0.01, amsgrad=True),
}


class Live:
    """A training loop with everything in it: a schedule of torch's, a loader with or without a generator of its own."""

    def __init__(self, examples, kind="sgd", own_generator=False, scaled=False, split=False):
        self.model = Net()
        half = len(list(self.model.body.parameters())) // 2
        params = list(self.model.body.parameters())
        groups = [{"params": params[:half]}, {"params": params[half:], "lr": 0.02}]
        self.optimizer = OPTIMIZERS[kind](groups[:1] if split else groups)
        self.others = [OPTIMIZERS[kind](groups[1:])] if split else []  # a second optimizer for the second half
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=30)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=7) if scaled else None
        self.generator = torch.Generator().manual_seed(7) if own_generator else None
        data = TensorDataset(*examples)
        self.loader = DataLoader(data, batch_size=8, shuffle=True, generator=self.generator)

    def train(self, steps):
        batches = (batch for _ in range(steps) for batch in self.loader)
        for _, batch in zip(range(steps), batches, strict=False):
            optimizers = [self.optimizer, *self.others]
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = cross_entropy(self.model, batch)
            if self.scaler is None:
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
            else:
                self.scaler.scale(loss).backward()
                for optimizer in optimizers:
                    self.scaler.step(optimizer)
                self.scaler.update()
            self.scheduler.step()

    def range_test(self, loss, **options):
        options = {"end_lr": 10.0, "num_steps": 40} | options
        optimizer = [self.optimizer, *self.others] if self.others else self.optimizer
        return lrs.range_test(self.model, optimizer, self.loader, loss, scaler=self.scaler, **options)

    def everything(self):
        """All that a training step may change, as plain numbers."""
        model = self.model

        def plain(value):
            if isinstance(value, torch.Tensor):
                return value.detach().tolist()
            if isinstance(value, dict):
                return {str(key): plain(item) for key, item in value.items()}
            return [plain(item) for item in value] if isinstance(value, list | tuple) else value

        return {
            "weights": plain(dict(model.named_parameters())),
            "buffers": plain(dict(model.named_buffers())),
            "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
            "requires_grad": [p.requires_grad for p in model.parameters()],
            "modes": [module.training for module in model.modules()],
            "hooks": [len(module._forward_hooks) for module in model.modules()],
            "optimizers": [plain(copy.deepcopy(each.state_dict())) for each in (self.optimizer, *self.others)],
            "scheduler": plain(self.scheduler.state_dict()),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "generator": None if self.generator is None else self.generator.get_state().tolist(),
        }


def cross_entropy(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def failing(error, at):
    """A loss that changes what it can, and raises at the given call."""
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) == at:
            model.eval()
            model.frozen.requires_grad_(True)
            next(model.parameters()).data.zero_()
            torch.rand(3)
            raise error("in the middle")
        return cross_entropy(model, batch)

    return loss


def nan_at(at):
    calls = []

    def loss(model, batch):
        calls.append(1)
        return cross_entropy(model, batch) * (float("nan") if len(calls) == at else 1)

    return loss


@pytest.mark.parametrize("before", [0, 11], ids=["untrained", "in the middle of a training"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("ending", ["finished", "diverged", "non_finite", "exception", "Ctrl-C", "refused"])
def test_everything_is_as_it_was(examples, seed_all, global_rng, before, kind, ending):
    seed_all(1)
    live = Live(examples, kind, own_generator=True, scaled=before > 0)
    live.train(before)
    stood, drawn = live.everything(), global_rng()
    assert any(gradient is not None for gradient in stood["gradients"]) == (before > 0)
    if ending == "finished":
        assert live.range_test(cross_entropy, end_lr=1e-3).stopped == "finished"
    elif ending == "diverged":
        rising = iter(range(1000))
        assert live.range_test(lambda m, b: cross_entropy(m, b) + 1.5 ** next(rising)).stopped == "diverged"
    elif ending == "non_finite":
        assert live.range_test(nan_at(15), gain_ratio=False).stopped == "non_finite"
    elif ending == "exception":
        with pytest.raises(OSError, match="in the middle"):
            live.range_test(failing(OSError, at=14))
    elif ending == "Ctrl-C":
        with pytest.raises(KeyboardInterrupt):
            live.range_test(failing(KeyboardInterrupt, at=14))
    else:
        with pytest.raises(lrs.errors.WorkloadError):
            live.range_test(lambda model, batch: model(batch[0]))
    assert live.everything() == stood
    assert global_rng() == drawn


@pytest.mark.parametrize(("own_generator", "scaled"), [(False, False), (True, True)])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_fifty_steps_with_a_range_test_in_the_middle_end_in_the_same_bits(
    examples, seed_all, global_rng, kind, own_generator, scaled
):
    def trained(at):
        seed_all(2)
        live = Live(examples, kind, own_generator, scaled)
        live.train(at)
        if at:
            curve = live.range_test(cross_entropy)
            assert len(curve.loss) > 10
            with pytest.raises(KeyboardInterrupt):
                live.range_test(failing(KeyboardInterrupt, at=33))
        live.train(50 - at)
        return live.everything(), global_rng()

    # a multiple of a pass of 8 steps, so that the loops with and without begin their passes at the same steps
    assert trained(at=24) == trained(at=0)


def watched(model, batch):
    torch.rand(3)
    return {"right": (model(batch[0]).argmax(1) == batch[1]).float()}


@pytest.mark.parametrize(("kind", "split"), [("sgd", True), ("adam", False)], ids=["two optimizers", "one optimizer"])
@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ({"extend": True, "start_lr": 1e-6, "end_lr": 1e-5}, False),  # goes on beyond its end
        ({"extend": True, "start_lr": 1e5, "end_lr": 1e7}, True),  # begins again lower
        ({"gain_ratio": False, "accumulate": 2, "clip_norm": 0.1}, True),
        ({"precision": "bf16", "end_lr": 1e-3}, False),
    ],
    ids=["extended", "begun again", "accumulated and clipped", "bf16"],
)
def test_so_they_do_under_every_option(examples, seed_all, global_rng, kind, split, options, valid):
    def trained(at):
        seed_all(2)
        live = Live(examples, kind, own_generator=True, scaled=True, split=split)
        live.train(at)
        if at:
            curve = live.range_test(
                cross_entropy, metrics=watched, **({"valid_data": live.loader} if valid else {}), **options
            )
            assert ("valid_right" in curve.metrics, "right" in curve.metrics) == (valid, not valid)
            assert (curve.gain_ratio is None) == ("gain_ratio" in options)
            if "extend" in options:
                assert curve.lr[-1] > 1e-4 if options["start_lr"] < 1 else curve.lr[0] < 1e3
        live.train(50 - at)
        return live.everything(), global_rng()

    assert trained(at=24) == trained(at=0)


def test_what_modules_and_optimizers_count_in_plain_numbers_is_as_it_was(examples, seed_all):
    class Counting(torch.optim.SGD):
        taken = 0

        def step(self, closure=None):
            self.taken += 1
            self.share = 1 / self.taken
            return super().step(closure)

    seed_all(1)
    live = Live(examples)
    live.model.body.register_forward_hook(lambda module, args, output: setattr(module, "seen", module.seen + 1))
    live.model.body.seen = 0
    live.optimizer = Counting(live.model.body.parameters(), lr=0.1)
    live.scheduler = torch.optim.lr_scheduler.ConstantLR(live.optimizer)
    live.train(2)
    before = dict(vars(live.optimizer))
    live.range_test(cross_entropy, num_steps=20)
    assert (live.model.body.seen, live.optimizer.taken, live.optimizer.share) == (2, 2, 0.5)
    assert vars(live.optimizer).keys() == before.keys()


def test_in_the_middle_of_an_epoch_the_loop_goes_on_with_its_next_batch(examples, seed_all):
    def seen(at):
        seed_all(2)
        live, batches = Live(examples, own_generator=True), []
        for step, batch in enumerate(live.loader):
            if step == at:
                live.range_test(cross_entropy, num_steps=20)
            batches.append(batch[0].tolist())
        return batches, live.everything()

    assert seen(at=3) == seen(at=None)


def test_interrupted_between_unscale_and_update_the_scaler_is_as_it_was(examples, seed_all):
    class Interrupted(torch.optim.SGD):
        armed = False

        def step(self, closure=None):
            if self.armed:
                raise KeyboardInterrupt
            return super().step(closure)

    def trained(interrupted):
        seed_all(1)
        live = Live(examples, scaled=True)
        live.optimizer = Interrupted(live.model.body.parameters(), lr=0.1)
        live.scheduler = torch.optim.lr_scheduler.ConstantLR(live.optimizer)
        live.train(8)
        if interrupted:
            live.optimizer.armed = True
            with pytest.raises(KeyboardInterrupt):
                live.range_test(cross_entropy)
            live.optimizer.armed = False
        live.train(1)  # were it left unscaled, torch would step with gradients 1024 times too large
        return live.everything()

    assert trained(interrupted=True) == trained(interrupted=False)


def test_gradients_held_elsewhere_are_still_the_parameters(examples, seed_all):
    seed_all(1)
    live = Live(examples)
    live.train(3)
    held = [p.grad for p in live.model.parameters()]
    live.range_test(cross_entropy)
    assert all(p.grad is gradient for p, gradient in zip(live.model.parameters(), held, strict=True))


def test_a_samplers_generator_is_as_it_was(examples, seed_all):
    seed_all(1)
    live, generator = Live(examples), torch.Generator().manual_seed(5)
    sampler = WeightedRandomSampler(torch.ones(60), 60, generator=generator)
    live.loader = DataLoader(TensorDataset(*examples), batch_size=8, sampler=sampler)
    next(iter(live.loader))
    before = generator.get_state()
    live.range_test(cross_entropy)
    assert torch.equal(generator.get_state(), before)


def test_at_the_first_step_of_a_warm_up_the_groups_keep_the_ratios_it_leads_to(examples, seed_all):
    seed_all(1)
    live, seen = Live(examples), []
    torch.optim.lr_scheduler.LambdaLR(live.optimizer, lambda step: step / 10)
    assert [group["lr"] for group in live.optimizer.param_groups] == [0.0, 0.0]

    def loss(model, batch):
        seen.append([group["lr"] for group in live.optimizer.param_groups])
        return cross_entropy(model, batch)

    curve = live.range_test(loss, end_lr=0.1, num_steps=20, gain_ratio=False)
    assert [pair[0] for pair in seen] == curve.lr.tolist()
    assert [pair[1] for pair in seen] == pytest.approx(0.4 * curve.lr)  # 0.02 to 0.05
    assert [group["lr"] for group in live.optimizer.param_groups] == [0.0, 0.0]
