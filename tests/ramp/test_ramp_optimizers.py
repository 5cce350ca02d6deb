"""The range test with several optimizers, with LBFGS, in half precision and with a GradScaler."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import lr_search as lrs
from lr_search.errors import InvalidInputError
from tests.helpers.case_ids import case_id


def make_net(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 3)).to(dtype)


def batches_of(examples, dtype=torch.float32):
    return [(examples[0][i : i + 8].to(dtype), examples[1][i : i + 8]) for i in range(0, 48, 8)]


def plain(value):
    """Tensors in any containers as numbers, so that they can be compared."""
    if isinstance(value, torch.Tensor):
        return value.detach().tolist()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def state_of(model, *optimizers):
    return plain([model.state_dict(), [p.grad for p in model.parameters()], [o.state_dict() for o in optimizers]])


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"accumulate": 2}], ids=case_id)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_two_halves_under_two_optimizers_are_one_model_under_one(examples, cross_entropy, kind, options):
    def ran(split):
        model = make_net()
        first, second = list(model[0].parameters()), list(model[3].parameters())
        groups = [{"params": first, "lr": 0.1}, {"params": second, "lr": 0.02}]
        optimizers = [kind([group]) for group in groups] if split else kind(groups)
        arguments = {"start_lr": 1e-5, "end_lr": 1.0, "num_steps": 40} | options
        return lrs.range_test(model, optimizers, batches_of(examples), cross_entropy, **arguments)

    one, two = ran(split=False), ran(split=True)
    assert one.loss.tolist() == two.loss.tolist()
    assert one.gain_ratio.tolist() == two.gain_ratio.tolist()
    assert one.lr.tolist() == two.lr.tolist()


def test_the_ratios_hold_across_optimizers_and_each_lr_is_put_back(examples, cross_entropy):
    model, seen = make_net(), []
    optimizers = (
        torch.optim.SGD(model[0].parameters(), lr=0.1),
        torch.optim.Adam([{"params": [model[3].weight], "lr": 0.01}, {"params": [model[3].bias], "lr": 0.2}]),
    )

    def loss(model, batch):
        seen.append([group["lr"] for optimizer in optimizers for group in optimizer.param_groups])
        return cross_entropy(model, batch)

    curve = lrs.range_test(model, optimizers, batches_of(examples), loss, num_steps=20, end_lr=0.1, gain_ratio=False)
    assert np.array(seen) == pytest.approx(np.outer(curve.lr, [1, 0.1, 2]))
    assert [group["lr"] for optimizer in optimizers for group in optimizer.param_groups] == [0.1, 0.01, 0.2]


class Gan(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
        self.critic = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def fake(model, batch):
    return model.generator(torch.randn(len(batch), 2))


def critics_loss(model, batch):
    real, made = model.critic(batch), model.critic(fake(model, batch).detach())
    return nn.functional.softplus(-real).mean() + nn.functional.softplus(made).mean()


def generators_loss(model, batch):
    return nn.functional.softplus(-model.critic(fake(model, batch))).mean()


def gan():
    model = Gan()
    critic = torch.optim.Adam(model.critic.parameters(), lr=0.02, betas=(0.5, 0.9))
    generator = torch.optim.SGD(model.generator.parameters(), lr=0.01, momentum=0.9)
    batches = list(torch.randn(5, 16, 1, generator=torch.Generator().manual_seed(3)) + 2)
    return model, [critic, generator], batches


def gan_by_hand(lrs_of_steps, clip_norm=None):
    """A GAN's usual loop. Returns: the sum of the two losses at every step."""
    model, (critic, generator), batches = gan()
    torch.manual_seed(5)
    sums = []
    for step, lr in enumerate(lrs_of_steps):
        critic.param_groups[0]["lr"], generator.param_groups[0]["lr"] = lr, lr * 0.5
        total = 0.0
        for optimizer, network, loss in (
            (critic, model.critic, critics_loss),
            (generator, model.generator, generators_loss),
        ):
            value = loss(model, batches[step % 5])
            optimizer.zero_grad()
            value.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
            optimizer.step()
            total += float(value.detach())
        sums.append(total)
    return sums


@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_a_gan_takes_its_steps_in_turn_as_a_loop_written_by_hand(clip_norm, global_rng):
    model, optimizers, batches = gan()
    torch.manual_seed(5)
    before, drawn = state_of(model, *optimizers), global_rng()
    curve = lrs.range_test(
        model, optimizers, batches, [critics_loss, generators_loss], start_lr=1e-4, end_lr=0.1, num_steps=30,
        clip_norm=clip_norm,
    )  # fmt: skip
    assert state_of(model, *optimizers) == before
    assert global_rng() == drawn
    assert (curve.gain_ratio, curve.num_forwards, curve.num_steps) == (None, 0, 30)
    assert curve.loss == pytest.approx(gan_by_hand(curve.lr, clip_norm), rel=1e-6)


def test_in_the_middle_of_a_gans_training_everything_is_put_back_in_both_optimizers():
    def trained(tested):
        model, optimizers, batches = gan()
        torch.manual_seed(5)
        for step in range(20):
            if tested and step == 10:
                lrs.range_test(model, optimizers, batches, [critics_loss, generators_loss], num_steps=40)
            for optimizer, loss in zip(optimizers, (critics_loss, generators_loss), strict=True):
                optimizer.zero_grad()
                loss(model, batches[step % 5]).backward()
                optimizer.step()
        return state_of(model, *optimizers)

    assert trained(tested=True) == trained(tested=False)


@pytest.mark.parametrize(
    ("optimizers", "losses", "message"),
    [
        (2, 3, "loss must be one function, or one for each optimizer, but got losses=3, optimizers=2."),
        (1, 2, "loss must be one function, or one for each optimizer, but got losses=2, optimizers=1."),
        (0, 1, "optimizer must be a torch Optimizer, or a list of them"),
        (2, 0, "loss must be a function (model, batch) -> scalar tensor, or a list of them"),
    ],
)
def test_counts_that_do_not_fit_are_refused(examples, cross_entropy, optimizers, losses, message):
    model = make_net()
    given = [torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(optimizers)]
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        lrs.range_test(model, given, batches_of(examples), [cross_entropy] * losses)


def lbfgs(model):
    return torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3, history_size=4)


@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_lbfgs_gets_its_closure_and_is_put_back(examples, cross_entropy, clip_norm):
    def train(model, optimizer, lrs_of_steps):
        """Plain PyTorch: the first loss of every step."""
        losses = []
        for step, lr in enumerate(lrs_of_steps):
            optimizer.param_groups[0]["lr"] = lr
            batch = batches_of(examples)[step % 6]

            def closure(batch=batch):
                optimizer.zero_grad()
                value = cross_entropy(model, batch)
                value.backward()
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
                return value

            losses.append(float(optimizer.step(closure).detach()))
        return losses

    def trained():
        model = make_net().eval()
        optimizer = lbfgs(model)
        train(model, optimizer, [0.5] * 3)
        return model, optimizer

    model, optimizer = trained()
    before = state_of(model, optimizer)
    curve = lrs.range_test(
        model,
        optimizer,
        batches_of(examples),
        cross_entropy,
        start_lr=1e-3,
        end_lr=0.5,
        num_steps=20,
        clip_norm=clip_norm,
    )
    assert curve.loss == pytest.approx(train(*trained(), curve.lr), rel=1e-5)
    assert curve.gain_ratio is None
    assert state_of(model, optimizer) == before
    assert train(model, optimizer, [0.5] * 5) == train(*trained(), [0.5] * 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "an optimizer that evaluates the loss itself (LBFGS, SAM) must have one of its own"),
        ({"scaler": torch.amp.GradScaler("cpu")}, "(LBFGS, SAM) must train without a GradScaler"),
    ],
)
def test_what_a_closure_cannot_do_is_refused(examples, cross_entropy, options, message):
    model = make_net()
    optimizers = [lbfgs(model)] if options else [lbfgs(model[0]), torch.optim.SGD(model[3].parameters(), lr=0.1)]
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        lrs.range_test(model, optimizers, batches_of(examples), cross_entropy, **options)


def test_lbfgs_beside_another_optimizer_with_a_loss_each(examples, cross_entropy):
    model = make_net().eval()
    optimizers = [lbfgs(model[0]), torch.optim.SGD(model[3].parameters(), lr=0.1)]
    before = state_of(model, *optimizers)
    curve = lrs.range_test(model, optimizers, batches_of(examples), [cross_entropy] * 2, end_lr=0.1, num_steps=20)
    assert curve.loss[0] == pytest.approx(2 * float(cross_entropy(model, batches_of(examples)[0]).detach()), rel=1e-3)
    assert state_of(model, *optimizers) == before


def test_bf16_autocast_measures_the_gain_ratio_as_far_as_it_can(examples, cross_entropy):
    def ran(precision):
        model = make_net().eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"start_lr": 1e-6, "end_lr": 1.0, "num_steps": 80, "precision": precision, "gain_ratio": True}
        return lrs.range_test(model, optimizer, batches_of(examples), cross_entropy, **options)

    single, half = ran("fp32"), ran("bf16")
    assert half.loss != pytest.approx(single.loss, rel=1e-6)
    known = np.isfinite(half.gain_ratio)
    assert np.isnan(half.gain_ratio[half.lr < 1e-5]).all()  # a change of the loss by a millionth
    assert np.isfinite(single.gain_ratio[half.lr > 1e-5]).all()
    assert known[half.lr > 0.03].all()
    assert half.gain_ratio[known] == pytest.approx(single.gain_ratio[known], abs=0.2)


def test_fp16_with_a_grad_scaler_skips_steps_and_puts_the_scaler_back(examples, cross_entropy):
    model = make_net().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**18)  # overflows in the first steps
    before = state_of(model, optimizer), scaler.state_dict()
    curve = lrs.range_test(
        model, optimizer, batches_of(examples), cross_entropy, start_lr=1e-5, end_lr=1.0, num_steps=60,
        precision="fp16", scaler=scaler,
    )  # fmt: skip
    assert (state_of(model, optimizer), scaler.state_dict()) == before
    assert curve.stopped == "finished"
    known = np.isfinite(curve.gain_ratio)
    assert not known[0]  # a step that was skipped
    assert known.mean() > 0.6
    assert np.median(curve.gain_ratio[known & (curve.lr < 0.1)]) == pytest.approx(1, abs=0.1)


def test_a_scaler_that_never_overflows_changes_nothing_but_rounding(examples, cross_entropy):
    def ran(scaler):
        model = make_net().eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        options = {"scaler": scaler, "end_lr": 1.0, "gain_ratio": True}
        return lrs.range_test(model, optimizer, batches_of(examples), cross_entropy, **options)

    scaled, plain = ran(torch.amp.GradScaler("cpu", init_scale=1024.0)), ran(None)
    assert scaled.loss == pytest.approx(plain.loss, rel=1e-5)
    large = plain.lr > 1e-3
    assert scaled.gain_ratio[large] == pytest.approx(plain.gain_ratio[large], abs=0.01)


def disabled_scaler(kind):
    if kind == "no CUDA" and torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    if kind == "no CUDA":  # torch disables it
        with pytest.warns(UserWarning, match="CUDA is not available"):
            return torch.amp.GradScaler("cuda")
    return torch.amp.GradScaler(kind, enabled=False)


@pytest.mark.parametrize("kind", ["cpu", "cuda", "no CUDA"])
@pytest.mark.parametrize("make", [lbfgs, lambda model: torch.optim.SGD(model.parameters(), lr=0.1)])
def test_a_scaler_that_is_disabled_is_as_none(examples, cross_entropy, kind, make):
    def ran(scaler):
        model = make_net().eval()
        return lrs.range_test(
            model, make(model), batches_of(examples), cross_entropy, num_steps=20, clip_norm=0.5, scaler=scaler
        )

    scaler = disabled_scaler(kind)
    assert ran(scaler).loss.tolist() == ran(None).loss.tolist()
    assert not scaler.is_enabled()


class WithoutLR(torch.optim.SGD):
    def __init__(self, params, lr, how):
        params = list(params)
        super().__init__([{"params": params[:1]}, {"params": params[1:]}], lr=lr)
        self.param_groups[1]["lr"] = how
        if how == "missing":
            del self.param_groups[1]["lr"]


MUST_HAVE = "parameter group of the optimizer must have an lr, but got without=[2]"


@pytest.mark.parametrize(
    ("how", "message"),
    [(None, MUST_HAVE), ("missing", MUST_HAVE)]
    + [
        (bad, f"group's lr must be a finite number, but got lr={bad!r}")
        for bad in ("fast", float("nan"), float("inf"), torch.zeros(2))
    ],
    ids=case_id,
)
def test_a_group_without_an_lr_is_refused_everywhere(examples, cross_entropy, make_workload, how, message):
    model, kind = make_net(), partial(WithoutLR, how=how)
    optimizer = kind(model.parameters(), lr=0.1)
    workload = make_workload(optimizer=kind)
    before = state_of(model, optimizer)
    for ran in (
        lambda: lrs.range_test(model, optimizer, batches_of(examples), cross_entropy),
        workload.range_test,
        lambda: workload.range_test(seeds=2),
        lambda: next(lrs.train(workload, lrs.schedules.Constant(0.1))),
        lambda: lrs.compare(workload, executor=lrs.FusedExecutor(), storage=None),
    ):
        with pytest.raises(InvalidInputError, match=re.escape(message)):
            ran()
    assert state_of(model, optimizer) == before
