"""Models, workloads and schedules for the tests of fused training, and the same trainings one by one to compare them with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional

import lr_search as lrs
from lr_search.fused.lane import Member
from lr_search.fused.support import support_of
from lr_search.fused.trials import FusedTraining
from lr_search.schedules import by_name
from lr_search.training.evaluation import Evaluation
from lr_search.training.snapshots import Snapshot, rebuilt

NUM_STEPS, FEATURES, CLASSES = 50, 16, 4
momentum_sgd = partial(torch.optim.SGD, momentum=0.9, weight_decay=1e-3)


def examples():
    """48 examples in 6 batches that a small net can learn. Returns: inputs (48, 16), classes (48,)."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(48, FEATURES, generator=generator)
    return inputs, (inputs @ torch.randn(FEATURES, CLASSES, generator=generator)).argmax(1)


def shuffled():
    inputs, classes = examples()
    return [(inputs[part], classes[part]) for part in torch.randperm(48).reshape(6, 8)]


def in_order():
    inputs, classes = examples()
    return [(inputs[part], classes[part]) for part in torch.arange(48).reshape(2, 24)]


def cross_entropy(model, batch, predict=nn.Module.__call__):
    return functional.cross_entropy(predict(model, batch[0]), batch[1])


def mlp():
    return nn.Sequential(nn.Linear(FEATURES, 12), nn.ReLU(), nn.Linear(12, CLASSES))


def workload(model=mlp, **changes):
    """A classifier of 50 steps, evaluated at 0, 13, 26, 39 and 50."""
    settings = {
        "model": model,
        "optimizer": momentum_sgd,
        "loss": cross_entropy,
        "train_data": shuffled,
        "valid_data": in_order,
        "num_steps": NUM_STEPS,
        "eval_every": 13,
        "device": "cpu",
    }
    return lrs.Workload(**{**settings, **changes})


def convolutions(norm):
    def make():
        head = [nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, CLASSES)]
        return nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3, padding=1), norm(), *head)

    return make


def dropouts():
    return nn.Sequential(nn.Linear(FEATURES, 12), nn.Dropout(0.3), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, CLASSES))


def tokens_of(inputs):
    """Whole numbers from 0 to 6."""
    return inputs[:, :6].round().clamp(-3, 3).long() + 3


class Attention(nn.Module):
    """Embedding, LayerNorm and attention, or a whole encoder layer."""

    def __init__(self, layer=None):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.norm = nn.LayerNorm(8)
        self.layer = nn.MultiheadAttention(8, 2, batch_first=True) if layer is None else layer()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, inputs):
        x = self.norm(self.embedding(tokens_of(inputs)))
        if isinstance(self.layer, nn.MultiheadAttention):
            return self.head((x + self.layer(x, x, x)[0]).mean(1))
        return self.head(self.layer(x).mean(1))


def encoder(dropout):
    return partial(Attention, partial(nn.TransformerEncoderLayer, 8, 2, 16, dropout=dropout, batch_first=True))


class Tied(nn.Module):
    """Predicts the class by a weight that is an embedding as well."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.mix = nn.Linear(8, 8)
        self.out = nn.Linear(8, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, inputs):
        return self.out(torch.tanh(self.mix(self.embedding(tokens_of(inputs)).mean(1))))


class Scaled(nn.Module):
    """Has a parameter without dimensions, one that nothing uses, and one that is not trained."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.full((CLASSES,), 0.5), requires_grad=False)

    def forward(self, inputs):
        return self.scale * self.net(inputs) + self.frozen


def halves():
    """A model without a forward: the loss calls its parts."""
    return nn.ModuleDict({"encoder": nn.Linear(FEATURES, 12), "head": nn.Linear(12, CLASSES)})


def by_halves(model, inputs):
    return model["head"](torch.tanh(model["encoder"](inputs)))


def two_groups(model):
    first, last = model[0].parameters(), model[2].parameters()
    return [{"params": first, "lr": 0.1, "weight_decay": 0.1}, {"params": last, "lr": 0.02, "weight_decay": 0.0}]


def three_schedules(lr):
    """At LRs of their own; the last is evaluated at other steps than the others."""
    at = [("constant", 0.2), ("one_cycle", 1.0), ("sgdr", 0.5)]
    return [by_name(name, lr=lr * factor, num_steps=NUM_STEPS) for name, factor in at]


@dataclass
class Run:
    """What is known of a training that has ended."""

    evaluations: list[Evaluation] = field(default_factory=list)
    stopped: str | None = None
    step: int = 0
    reason: str = ""
    snapshots: list[Snapshot] = field(default_factory=list)

    def end(self, training):
        self.stopped, self.step, self.reason = training.stopped, training.step, training.reason
        self.snapshots = training.snapshots
        return self

    @property
    def steps(self):
        return [each.step for each in self.evaluations]


def listed(works, schedules):
    return works if isinstance(works, list) else [works] * len(schedules)


def fused(works, schedules, *, seed=0, snapshots=0, cut=lambda lane, step: False, support=None):
    """Trains all together; `cut` says of a lane that was evaluated whether it ends there. Returns: a `Run` each.

    seed: of all, or a list with each one's.
    """
    works = listed(works, schedules)
    known = {id(each): support or support_of(each, seed if isinstance(seed, int) else seed[0]) for each in works}
    assert [each.reason for each in known.values()] == [""] * len(known)
    members = [Member(each, schedule, snapshots) for each, schedule in zip(works, schedules, strict=True)]
    training = FusedTraining(members, seed, [known[id(each)] for each in works])
    runs = [Run() for _ in works]
    for lane in chain.from_iterable(training):
        if lane.evaluation is not None:
            runs[lane.index].evaluations.append(lane.evaluation)
            if not lane.over and cut(lane, lane.evaluation.step):
                lane.cut()
    training.close()
    return [run.end(lane) for run, lane in zip(runs, training.lanes, strict=True)]


def alone(works, schedules, *, seed=0, snapshots=0):
    """Trains each by itself. Returns: a `Run` each."""
    runs = []
    seeds = [seed] * len(schedules) if isinstance(seed, int) else seed
    for each, schedule, own in zip(listed(works, schedules), schedules, seeds, strict=True):
        training = lrs.train(each, schedule, seed=own, snapshots=snapshots)
        runs.append(Run(list(training)).end(training))
    return runs


def assert_same(got, expected, rel=1e-3):
    """The same steps, ends and reasons; losses and metrics to `rel`."""
    for one, other in zip(got, expected, strict=True):
        assert (one.stopped, one.step, one.reason) == (other.stopped, other.step, other.reason)
        assert_same_evaluations(one.evaluations, other.evaluations, rel)


def assert_same_evaluations(got, expected, rel=1e-3):
    for one, other in zip(got, expected, strict=True):
        assert (one.step, one.lr, one.end_of_cycle) == (other.step, other.lr, other.end_of_cycle)
        assert one.train_loss == pytest.approx(other.train_loss, rel=rel, nan_ok=True)
        assert one.metrics == pytest.approx(other.metrics, rel=rel, abs=1e-6, nan_ok=True)


def predictions(work, snapshot, predict):
    """The outputs of the model of a snapshot on the validation data."""
    model = rebuilt(work, snapshot)
    with torch.no_grad():
        return torch.cat([predict(model, batch[0]) for batch in in_order()]).numpy()


@dataclass(frozen=True)
class Case:
    """A workload, and an LR that is well below its edge of divergence."""

    work: lrs.Workload
    lr: float = 0.05
    predict: Callable = nn.Module.__call__
    rel: float = 1e-3


ADAM = {"optimizer": torch.optim.AdamW}
CASES = {
    "mlp": Case(workload()),
    "mlp_adam": Case(workload(**ADAM), lr=0.01),
    "batch_norm": Case(workload(convolutions(lambda: nn.BatchNorm2d(4))), lr=0.02),
    "group_norm": Case(workload(convolutions(lambda: nn.GroupNorm(2, 4))), lr=0.02),
    "attention": Case(workload(Attention, **ADAM), lr=0.003),
    "encoder": Case(workload(encoder(0.0), **ADAM), lr=0.003),
    "encoder_dropout": Case(workload(encoder(0.1), **ADAM), lr=0.003),
    "dropout": Case(workload(dropouts), lr=0.02),
    "tied": Case(workload(Tied)),
    "scaled": Case(workload(Scaled), lr=0.02),
    "halves": Case(workload(halves, loss=partial(cross_entropy, predict=by_halves)), predict=by_halves),
    "groups": Case(workload(param_groups=two_groups)),
    "clip_norm": Case(workload(clip_norm=0.3), lr=0.2),
    "accumulate": Case(workload(accumulate=2, clip_norm=0.5)),
    "bf16": Case(workload(precision="bf16"), lr=0.02, rel=0.05),
}
EVERY_CASE = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
