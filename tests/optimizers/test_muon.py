"""Muon and AdamW as one optimizer: against torch's own two, run apart; and which parameters are whose."""

import copy
import pickle
from functools import partial
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lr_search as lrs
from lr_search.fused.support import support_of
from lr_search.optimizers.muon import MuonAdamW, muon_groups
from tests.helpers.fused_cases import Attention, Scaled, Tied, alone, assert_same, convolutions, fused, workload

STEPS = 12
BETAS = (0.8, 0.95)
INPUTS = torch.randn(STEPS, 10, 16, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randint(4, (STEPS, 10), generator=torch.Generator().manual_seed(1))


def seeded(make):
    torch.manual_seed(2)
    return make()


def backward(model, step):
    model.zero_grad()
    cross_entropy(model(INPUTS[step]), CLASSES[step]).backward()


def lr_at(step):
    return 0.02 / (1 + step)


def trained(model, optimizers, steps=range(STEPS)):
    """A plain loop, each group's LR at its ratio to 0.02. Returns: the weights."""
    for step in steps:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr_at(step) * group.setdefault("ratio", group["lr"] / 0.02)
        backward(model, step)
        for optimizer in optimizers:
            optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one, other):
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def apart(model, groups):
    """The same groups, each as one of torch's Muon and one of its AdamW."""
    muon, adamw = [], []
    for group in groups:
        params = list(group["params"])
        matrices = [p for p in params if p.ndim == 2] if group.get("use_muon", True) else []
        inside = {id(p) for p in matrices}
        own = {name: group[name] for name in ("lr", "weight_decay") if name in group}
        muon.append({"params": matrices, **own})
        adamw.append({"params": [p for p in params if id(p) not in inside], **own})
    shared = {"lr": 0.02, "weight_decay": 0.2}
    return [
        torch.optim.Muon(muon, momentum=0.9, adjust_lr_fn="match_rms_adamw", **shared),
        torch.optim.AdamW(adamw, betas=BETAS, **shared),
    ]


def together(groups):
    return MuonAdamW(groups, lr=0.02, weight_decay=0.2, momentum=0.9, adamw_betas=BETAS)


def one_group(model):
    return [{"params": list(model.parameters())}]


def four_groups(model):
    children = list(model.children())
    return [
        {"params": list(children[0].parameters()), "lr": 0.05, "use_muon": False},
        {"params": list(children[1].parameters()), "lr": 0.02},
        {"params": list(children[2].parameters()), "lr": 0.01, "weight_decay": 0.0},
        {"params": list(children[3].parameters()), "lr": 0.002, "weight_decay": 0.5},
    ]


CASES = {
    "convolutions": (convolutions(lambda: nn.GroupNorm(2, 4)), one_group),
    "attention": (Attention, one_group),
    "groups": (Attention, four_groups),
    "scaled": (Scaled, one_group),
}


@pytest.mark.parametrize(("make", "groups"), CASES.values(), ids=CASES)
def test_the_two_parts_are_torchs_own_to_the_bit(make, groups):
    model, other = seeded(make), seeded(make)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    ours = trained(model, [together(groups(model))])
    assert same(ours, trained(other, apart(other, groups(other))))
    assert not same(ours, start)


def test_parameters_may_come_with_their_names():
    model, other = seeded(Attention), seeded(Attention)
    ours = trained(model, [together(model.named_parameters())])
    assert same(ours, trained(other, [together(other.parameters())]))


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_its_state_goes_on_in_a_copy(way):
    model = seeded(Attention)
    optimizer = together(four_groups(model))
    trained(model, [optimizer], range(5))
    if way == "state_dict":
        other = copy.deepcopy(model)
        again = MuonAdamW(four_groups(other), lr=1.0)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    else:
        copied = copy.deepcopy if way == "deepcopy" else lambda value: pickle.loads(pickle.dumps(value))
        other, again = copied((model, optimizer))
    rest = range(5, STEPS)
    assert same(trained(model, [optimizer], rest), trained(other, [again], rest))


def test_its_parts_keep_nothing_but_their_parameters_states():
    model = seeded(Attention)
    optimizer = together(one_group(model))
    trained(model, [optimizer])
    states = {name: set(optimizer.state[parameter]) for name, parameter in model.named_parameters()}
    adamw = {"step", "exp_avg", "exp_avg_sq"}
    assert {name for name, state in states.items() if state == {"momentum_buffer"}} == {
        "embedding.weight", "layer.in_proj_weight", "layer.out_proj.weight", "head.weight",
    }  # fmt: skip
    assert {frozenset(state) for state in states.values()} == {frozenset({"momentum_buffer"}), frozenset(adamw)}


def test_a_group_that_is_added_is_trained():
    model = seeded(Attention)
    groups = four_groups(model)
    optimizer = together(groups[:3])
    optimizer.add_param_group(groups[3])
    other = seeded(Attention)
    assert same(trained(model, [optimizer]), trained(other, apart(other, four_groups(other))))


def test_a_closure_is_called_with_gradients_and_its_loss_returned():
    model, other = seeded(Tied), seeded(Tied)
    optimizer = MuonAdamW(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(INPUTS[0]), CLASSES[0])
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    backward(other, 0)
    assert loss.item() == cross_entropy(other(INPUTS[0]), CLASSES[0]).item()
    MuonAdamW(other.parameters()).step()
    assert same(model.parameters(), other.parameters())


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"weight_decay": -1.0}, {"adamw_betas": (0.9, 1.5)}])
def test_settings_that_torch_refuses(settings):
    with pytest.raises(ValueError, match=r"(?i)invalid|should be"):
        MuonAdamW([nn.Parameter(torch.ones(2, 2))], **settings)


def test_its_groups_keep_their_ratios_under_a_schedule_and_its_momentum_follows():
    schedule = lrs.schedules.by_name("one_cycle", lr=0.02, num_steps=50)
    seen = []

    def noted(params, lr):
        optimizer = MuonAdamW(params, lr=lr)
        optimizer.register_step_pre_hook(
            lambda optimizer, *_: seen.append(
                [(g["lr"], g["momentum"], g["adamw_betas"]) for g in optimizer.param_groups]
            )
        )
        return optimizer

    list(lrs.train(workload(Attention, optimizer=noted, param_groups=four_groups), schedule))
    assert len(seen) == 50
    for step, groups in enumerate(seen):
        assert [lr for lr, _, _ in groups] == pytest.approx([schedule(step) * ratio for ratio in (1, 0.4, 0.2, 0.04)])
        assert [momentum for _, momentum, _ in groups] == [pytest.approx(schedule.momentum(step))] * 4
        assert [betas for _, _, betas in groups] == [(0.9, 0.999)] * 4


def names_of(model, groups):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in groups]


def test_the_common_groups():
    model = Attention()
    hidden, rest = muon_groups(model)
    assert (hidden["use_muon"], rest["use_muon"]) == (True, False)
    assert names_of(model, [hidden]) == [["layer.in_proj_weight", "layer.out_proj.weight"]]
    assert {"embedding.weight", "head.weight", "norm.weight"} <= set(names_of(model, [rest])[0])
    assert sorted(chain.from_iterable(names_of(model, [hidden, rest]))) == sorted(
        name for name, _ in model.named_parameters()
    )
    tied = Tied()
    assert names_of(tied, muon_groups(tied)) == [["mix.weight"], ["embedding.weight", "mix.bias"]]
    single = nn.Linear(3, 2)
    assert [group["use_muon"] for group in muon_groups(single)] == [False]
    with pytest.raises(lrs.errors.InvalidInputError, match="model must be"):
        muon_groups([single])


def adamw_alone(params, lr):
    return torch.optim.AdamW(params, lr=lr, weight_decay=0.1)


def test_a_group_without_muon_is_adamws_and_steps_all_models_at_once():
    def everything(model):
        return [{"params": model.parameters(), "use_muon": False}]

    work = workload(optimizer=MuonAdamW, param_groups=everything)
    assert support_of(work, 0).stacks
    schedules = [lrs.schedules.Constant(lr) for lr in (0.001, 0.01)]
    expected = alone(workload(optimizer=adamw_alone), schedules)
    for one, other in zip(alone(work, schedules), expected, strict=True):
        assert one.evaluations[-1].metrics == other.evaluations[-1].metrics
    assert_same(fused(work, schedules), expected)


@pytest.mark.parametrize("groups", [None, muon_groups])
def test_with_muon_each_model_has_its_own_in_a_fused_training(groups):
    work = workload(Attention, optimizer=partial(MuonAdamW, momentum=0.9), param_groups=groups)
    assert not support_of(work, 0).stacks
    schedules = [lrs.schedules.Constant(0.003), lrs.schedules.by_name("one_cycle", lr=0.01, num_steps=50)]
    assert_same(fused(work, schedules), alone(work, schedules), rel=0.02)  # Muon computes in bfloat16
