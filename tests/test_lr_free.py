"""Prodigy and Schedule-Free: their authors' rules in a comparison, and in a training."""

import copy
import itertools
import math

import numpy as np
import optuna
import prodigyopt
import pytest
import schedulefree
import torch
from torch import nn

import lr_search as lrs
from lr_search.optim import capture
from lr_search.schedules import Constant
from lr_search.schedules.cosine import Cosine
from tests.bowl import bowl
from tests.workloads import data, line, squared_error

LR = 0.05
KINDS = {
    "adamw": schedulefree.AdamWScheduleFree,
    "sgd": schedulefree.SGDScheduleFree,
    "radam": schedulefree.RAdamScheduleFree,
    "reference": schedulefree.SGDScheduleFreeReference,
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def network(width=8):
    return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))


def wide():
    """Of so many weights, a few come back from the package's own switch in other bits."""
    return network(200)


def normed():
    return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def free(**changes):
    """A workload with Schedule-Free whose 8 batches a pass come in their order."""
    settings = {"model": network, "optimizer": schedulefree.AdamWScheduleFree, "train_data": data}
    return line(**(settings | changes))


def by_hand(model, kind, num_steps, lr=LR, first=0):
    """The plain loop of Schedule-Free's README, never evaluated. Returns: the optimizer, in train mode."""
    optimizer = kind(model.parameters(), lr=lr)
    optimizer.train()
    for batch in itertools.islice(itertools.cycle(data()), num_steps):
        squared_error(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def seeded(make=network, seed=0):
    torch.manual_seed(seed)
    return make()


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == called and torch.equal(a, b) for (name, a), (called, b) in pairs)


def plain(value):
    """An optimizer's state, so that == compares it."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


# --- a comparison -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything():
    """Six optimizers, three strategies, two schedules and one seed, run once. Returns: the call, which changes may be given to."""
    kept = optuna.storages.InMemoryStorage()

    def call(**changes):
        settings = {
            "strategies": ["random", "range_test", "defaults"],
            "schedules": ["triangular2", "cosine"],
            "optimizers": ["sgd", "adam", "rmsprop", "adagrad", "prodigy", "schedule_free"],
            "lr_range": (1e-3, 0.5), "range_test": {"num_steps": 20}, "budget": 2, "seeds": 1, "storage": kept,
            "snapshots": 0, "progress": False,
        }  # fmt: skip
        return lrs.compare(line(), **(settings | changes))

    call()
    return call


def rows(trials, optimizer):
    mine = trials[trials["optimizer"] == optimizer]
    return mine.groupby(["strategy", "schedule"]).size().to_dict()


def test_each_optimizer_is_run_by_its_own_rules(everything):
    trials = everything().trials
    # budget 2: random 2 trainings, range_test 2 - ceil(27 / 30) = 1, defaults 1
    counts = {"random": 2, "range_test": 1, "defaults": 1}
    for name in ("sgd", "adam", "rmsprop", "adagrad"):
        expected = {(s, e): n for s, n in counts.items() for e in ("triangular2", "cosine")}
        assert rows(trials, name) == expected
    assert rows(trials, "schedule_free") == {(s, "constant"): n for s, n in counts.items()}
    assert rows(trials, "prodigy") == {("defaults", "cosine"): 1}
    assert set(trials.query("optimizer == 'prodigy'")["lr"]) == {1.0}
    assert set(trials.query("optimizer == 'schedule_free' and strategy == 'defaults'")["lr"]) == {0.0025}
    assert trials.query("optimizer == 'schedule_free' and strategy == 'random'")["lr"].nunique() == 2
    assert not set(trials["outcome"]) - {"finished", "diverged"}


def test_range_tests_are_run_only_where_they_are_needed(everything):
    comparison = everything()
    assert set(comparison.curves["optimizer"]) == {"sgd", "adam", "rmsprop", "adagrad", "schedule_free"}
    assert comparison.curves.groupby(["optimizer", "seed"])["curve"].nunique().tolist() == [1] * 5
    only = everything(optimizers=["prodigy"], strategies=["range_test", "probe"], storage=None)
    assert len(only.curves) == 0
    assert [record.kind for record in only.records] == ["search"]


def test_no_study_spends_more_than_its_budget(everything):
    trials = everything().trials
    spent = trials.groupby(["optimizer", "strategy"])["steps_charged"].max().to_dict()
    assert max(spent.values()) <= 2 * 30
    assert spent["prodigy", "defaults"] == spent["schedule_free", "defaults"] == 30
    assert spent["schedule_free", "range_test"] == 30 + 20 + math.ceil(21 / 3)


def test_the_plan_says_what_will_be_run_and_counts_it_right(everything, capsys):
    everything(storage=None, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    # studies: 4 optimizers x 3 x 2, Schedule-Free 3, Prodigy 1
    assert lines[0].startswith(
        "comparison: 28 studies (3 strategies x 2 schedules x 6 optimizers x 1 seed, "
        "where the optimizers' own rules allow), budget 2 full trainings"
    )
    assert lines[1] == (
        "prodigy finds its learning rate itself: one training a study (defaults), with lr=1, "
        "and is trained under cosine, as its authors want it"
    )
    assert lines[2] == "schedule_free is trained under constant, as its authors want it"
    # trainings: (2 + 1 + 1) x (4 x 2 + 1) + 1, and 5 range tests of 27 steps
    trainings = 4 * 9 + 1
    assert lines[3].startswith(f"at most {trainings + 5} trials and {30 * trainings + 5 * 27:,} steps in all: about ")
    everything()
    assert capsys.readouterr().out.splitlines()[-1] == "nothing is left to train"


def test_the_report_has_its_rows(everything, tmp_path):
    names = ["prodigy", "schedule_free"]
    comparison = everything(optimizers=names, strategies=["range_test"], seeds=1, storage=None)
    summary = comparison.summary().set_index(["optimizer", "strategy", "schedule"])
    assert len(summary) == 2
    assert summary.loc[("prodigy", "defaults", "cosine"), "best_lr"] == 1.0
    comparison.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in names)


def test_where_no_schedule_is_allowed_constant_is_taken():
    settings = {"schedules": ["sgdr"], "strategies": {"mine": 0.1}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), optimizers=["sgd", "prodigy", "schedule_free_sgd"], **settings).trials
    found = trials[["optimizer", "strategy", "schedule"]].to_numpy().tolist()
    expected = [["sgd", "mine", "sgdr"], ["prodigy", "defaults", "constant"], ["schedule_free_sgd", "mine", "constant"]]
    assert found == expected


def test_a_schedule_is_known_by_what_it_is_not_by_its_name():
    schedules = {"mine": lambda lr: Cosine(lr, 30), "restarts": "sgdr", "flat": "constant"}
    settings = {"schedules": schedules, "strategies": {"m": 0.1}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), optimizers=["prodigy", "schedule_free"], **settings).trials
    found = trials[["optimizer", "schedule"]].to_numpy().tolist()
    assert found == [["prodigy", "mine"], ["prodigy", "flat"], ["schedule_free", "flat"]]


class Mine(prodigyopt.Prodigy):
    pass


class Foreign(torch.optim.SGD):
    pass


@pytest.mark.parametrize("factory", [Mine, lambda params, lr: prodigyopt.Prodigy(params, lr=lr, d_coef=0.5)])
def test_the_rules_hold_for_the_users_own_factories(factory):
    settings = {"schedules": ["sgdr"], "strategies": ["random"], "budget": 2, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), optimizers={"o": factory}, **settings).trials
    assert trials[["strategy", "schedule", "lr"]].to_numpy().tolist() == [["defaults", "constant", 1.0]]


def test_the_users_own_rules(monkeypatch):
    rules = lrs.optimizers.Rules(schedules=("cosine",))
    monkeypatch.setitem(lrs.optimizers.RULES, f"{Foreign.__module__}.Foreign", rules)
    assert lrs.optimizers.rules_of(Foreign) == rules
    assert lrs.optimizers.rules_of(torch.optim.SGD) == lrs.optimizers.Rules()
    settings = {"strategies": {"m": 0.1}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(optimizer=Foreign), schedules=["cosine", "sgdr"], **settings).trials
    assert trials["schedule"].tolist() == ["cosine"]


def test_a_renamed_defaults_is_the_one_row_of_prodigy():
    settings = {"strategies": {"m": 0.1, "promise": "defaults"}, "budget": 1, "seeds": 1, "storage": None}
    trials = lrs.compare(line(), schedules=["constant"], optimizers=["prodigy"], **settings).trials
    assert trials["strategy"].tolist() == ["promise"]


def test_a_budget_that_only_prodigy_can_live_on():
    settings = {"strategies": ["range_test"], "schedules": ["constant"], "budget": 1, "seeds": 1, "storage": None}
    assert len(lrs.compare(line(), optimizers=["prodigy"], **settings).trials) == 1
    with pytest.raises(lrs.errors.InvalidInputError, match="its range test and one full training"):
        lrs.compare(line(), optimizers=["prodigy", "sgd"], **settings)


def test_a_winner_that_was_not_searched_is_confirmed():
    comparison = lrs.compare(
        line(), optimizers=["sgd", "prodigy"], strategies={"mine": 1e-5}, schedules=["cosine"], budget=1, seeds=1,
        storage=None, confirm=2,
    )  # fmt: skip
    best = comparison.recommend()
    assert (best.optimizer, best.schedule, best.lr, best.confirmed) == ("prodigy", "cosine", 1.0, True)
    again = comparison.confirmations.query("optimizer == 'prodigy'")
    training = lrs.train(line(optimizer=prodigyopt.Prodigy), Cosine(1.0, 30), seed=int(again["seed"].iloc[0]))
    assert list(training)[-1].metrics["loss"] == again["objective"].iloc[0]


def test_prodigy_trains_as_in_a_plain_loop_with_torchs_cosine():
    training = lrs.train(free(optimizer=prodigyopt.Prodigy), lrs.schedules.by_name("cosine", 1.0, 30))
    list(training)
    model = seeded()
    optimizer = prodigyopt.Prodigy(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
    for batch in itertools.islice(itertools.cycle(data()), 30):
        optimizer.zero_grad()
        squared_error(model, batch).backward()
        optimizer.step()
        scheduler.step()
    for one, other in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


# --- train and eval modes -----------------------------------------------------------------------------------------------


class Averaging(torch.optim.SGD):
    """SGD that shows the mean of all weights so far; switches by a flag of its own, as another package's might."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.showing, self.count = False, 0

    def step(self, closure=None):
        assert not self.showing
        super().step(closure)
        self.count += 1
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["mean"] = state.get("mean", 0) + (parameter.detach() - state.get("mean", 0)) / self.count

    @torch.no_grad()
    def _exchange(self, showing):
        if showing != self.showing:
            for parameter, state in self.state.items():
                held = parameter.clone()
                parameter.copy_(state["mean"])
                state["mean"] = held
        self.showing = showing

    def train(self):
        self._exchange(showing=False)

    def eval(self):
        self._exchange(showing=True)


def test_any_optimizer_with_both_modes_is_switched():
    training = lrs.train(bowl(optimizer=Averaging), Constant(0.1), seed=5)
    found = {evaluation.step: evaluation.metrics["loss"] for evaluation in training}
    start = 1 + torch.rand((), generator=torch.Generator().manual_seed(5)).item()
    path = start * 0.8 ** np.arange(1, 21)  # a step in the bowl multiplies the weight by 1 - 2 lr
    expected = {0: start**2} | {step: path[:step].mean() ** 2 for step in (5, 10, 15, 20)}
    assert found == pytest.approx(expected, rel=1e-5)
    assert training.model.w.item() == pytest.approx(path.mean(), rel=1e-5)
    assert training.optimizer.showing


@EVERY_KIND
def test_an_evaluation_is_of_the_averaged_weights_of_a_plain_loop(kind):
    training = lrs.train(free(optimizer=kind), Constant(LR), seed=0)
    steps = []
    for evaluation in training:
        model = seeded()
        by_hand(model, kind, evaluation.step).eval()
        # the plain loop of so many steps was not looked at on the way: the same bits
        assert same(training.model, model)
        losses = [squared_error(model, batch).item() for batch in data()]
        assert evaluation.metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        steps.append(evaluation.step)
    assert steps == [0, 10, 20, 30]
    assert not training.optimizer.param_groups[0]["train_mode"]


@EVERY_KIND
def test_the_averaged_weights_are_not_the_trained_ones(kind):
    model = seeded()
    optimizer = by_hand(model, kind, 10)
    trained = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.eval()
    assert not any(torch.equal(one, other) for one, other in zip(trained, model.parameters(), strict=True))


@EVERY_KIND
def test_how_often_a_training_is_evaluated_changes_no_bit(kind):
    ends = []
    for every in (1, 7, 30):
        training = lrs.train(free(optimizer=kind, model=wide, eval_every=every), Constant(LR))
        list(training)
        state = training.state_dict()
        ends.append([state["trained"], *plain(state["optimizer"]["state"]).values(), plain(state["model"])])
    assert plain(ends[0]) == plain(ends[1]) == plain(ends[2])


def test_the_switch_of_the_package_itself_does_round():
    # were it exact, nothing would have to be kept aside
    model = seeded(wide)
    optimizer = by_hand(model, schedulefree.AdamWScheduleFree, 30)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer.eval()
    optimizer.train()
    moved = [(one - other).abs().max().item() for one, other in zip(before, model.parameters(), strict=True)]
    assert 0 < max(moved) < 1e-6


def test_snapshots_are_of_the_averaged_weights():
    training = lrs.train(free(), Constant(LR), snapshots=2)
    list(training)
    assert [snapshot.step for snapshot in training.snapshots] == [20, 30]
    for snapshot in training.snapshots:
        model = seeded()
        by_hand(model, schedulefree.AdamWScheduleFree, snapshot.step).eval()
        assert plain(dict(snapshot.weights)) == plain(dict(model.state_dict()))


def test_advance_shows_the_averaged_weights_too():
    training = lrs.train(free(), Constant(LR))
    training.advance(13)
    model = seeded()
    by_hand(model, schedulefree.AdamWScheduleFree, 13).eval()
    assert same(training.model, model)


@pytest.mark.parametrize("make", [wide, normed])
@pytest.mark.parametrize("optimizer", [*KINDS.values(), prodigyopt.Prodigy])
def test_a_training_goes_on_from_its_state_in_the_same_bits(optimizer, make, tmp_path):
    workload = free(optimizer=optimizer, model=make)
    undisturbed = lrs.train(workload, Constant(LR))
    list(undisturbed)
    first = lrs.train(workload, Constant(LR))
    assert next(first).step == 0
    assert next(first).step == 10
    torch.save(first.state_dict(), tmp_path / "state.pt")
    first.advance(25)  # what was saved does not depend on it
    second = lrs.train(workload, Constant(LR))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [evaluation.step for evaluation in second] == [20, 30]
    assert same(second.model, undisturbed.model)
    assert plain(second.optimizer.state_dict()) == plain(undisturbed.optimizer.state_dict())


def test_a_state_after_advance_goes_on_as_well(tmp_path):
    undisturbed = lrs.train(free(), Constant(LR))
    evaluations = list(undisturbed)
    first = lrs.train(free(), Constant(LR))
    first.advance(10)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = lrs.train(free(), Constant(LR))
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [e.metrics for e in second] == [e.metrics for e in evaluations[1:]]


def test_a_training_that_diverges_says_so():
    training = lrs.train(free(optimizer=schedulefree.SGDScheduleFree, model=lambda: nn.Linear(1, 1)), Constant(1e6))
    list(training)
    assert training.stopped == "diverged"


# --- batch norm ---------------------------------------------------------------------------------------------------------


class Counting(nn.Module):
    """Counts its forward passes in train mode, as a codebook or a spectral norm does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return x


def test_the_statistics_of_batch_norms_are_those_of_the_averaged_weights():
    training = lrs.train(free(model=lambda: nn.Sequential(Counting(), *normed())), Constant(LR))
    evaluation = list(training)[-1]
    model = seeded(normed)
    by_hand(model, schedulefree.AdamWScheduleFree, 30).eval()
    torch.optim.swa_utils.update_bn([batch[:, :1] for batch in data()], model)
    model.eval()
    losses = [squared_error(model, batch).item() for batch in data()]
    assert evaluation.metrics["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    for name, value in model.state_dict().items():
        index, _, field = name.partition(".")
        torch.testing.assert_close(training.model.state_dict()[f"{int(index) + 1}.{field}"], value)
    assert training.model[0].seen == 30  # the passes that gathered statistics are not the training's
    assert training.model[2].momentum == 0.1


def test_frozen_batch_norms_stay_as_they_are():
    def loss(model, batch):
        model[1].eval()
        return squared_error(model, batch)

    training = lrs.train(
        free(model=normed, loss=loss, metrics=lambda m, b: {"loss": squared_error(m, b)}), Constant(LR)
    )
    list(training)
    assert training.model[1].running_mean.eq(0).all()
    assert training.model[1].running_var.eq(1).all()


def test_other_optimizers_keep_their_running_statistics():
    training = lrs.train(free(model=normed, optimizer=torch.optim.SGD), Constant(LR))
    list(training)
    model = seeded(normed)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for batch in itertools.islice(itertools.cycle(data()), 30):
        optimizer.zero_grad()
        squared_error(model, batch).backward()
        optimizer.step()
    torch.testing.assert_close(dict(training.model.state_dict()), dict(model.state_dict()))


# --- range tests --------------------------------------------------------------------------------------------------------

RAMP = {"start_lr": 1e-4, "end_lr": 1.0, "num_steps": 20}


@EVERY_KIND
@pytest.mark.parametrize("showing", [False, True], ids=["train", "eval"])
def test_a_live_range_test_is_run_in_train_mode_and_puts_the_mode_back(kind, showing):
    model = seeded()
    optimizer = by_hand(model, kind, 12)
    undisturbed = copy.deepcopy(model), plain(copy.deepcopy(optimizer.state_dict()))
    reference = lrs.range_test(model, optimizer, data(), squared_error, **RAMP)  # from train mode
    if showing:
        optimizer.eval()
        undisturbed = copy.deepcopy(model), plain(copy.deepcopy(optimizer.state_dict()))
    curve = lrs.range_test(model, optimizer, data(), squared_error, **RAMP)
    assert optimizer.param_groups[0]["train_mode"] is not showing
    assert same(model, undisturbed[0])
    assert plain(optimizer.state_dict()) == undisturbed[1]
    assert len(curve.lr) == len(reference.lr)
    np.testing.assert_allclose(curve.loss, reference.loss, rtol=1e-4)


def test_its_curve_is_that_of_a_plain_loop():
    workload = free(optimizer=schedulefree.SGDScheduleFree)
    curve = workload.range_test(valid_batches=3, **RAMP)
    model = seeded()
    optimizer = schedulefree.SGDScheduleFree(model.parameters(), lr=1.0)
    for index, batch in enumerate(itertools.islice(itertools.cycle(data()), 20)):
        optimizer.eval()
        shown = np.mean([squared_error(model, each).item() for each in data()[:3]])
        optimizer.train()
        loss = squared_error(model, batch)
        assert curve.loss[index] == pytest.approx(loss.item(), rel=1e-4)
        assert curve.metrics["valid_loss"][index] == pytest.approx(shown, rel=1e-4)  # of the averaged weights
        optimizer.param_groups[0]["lr"] = 1e-4 * (1.0 / 1e-4) ** (index / 19)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert len(curve.loss) == 20


@pytest.mark.parametrize("kind", [KINDS["adamw"], KINDS["sgd"]])
def test_a_range_test_within_a_training_leaves_it_in_the_same_bits(kind):
    workload = free(optimizer=kind, model=wide)
    undisturbed = lrs.train(workload, Constant(LR))
    expected = [evaluation.metrics for evaluation in undisturbed]
    training = lrs.train(workload, Constant(LR))
    found = []
    for evaluation in training:
        found.append(evaluation.metrics)
        training.range_test(valid_batches=2, extend=True, **(RAMP | {"start_lr": 0.2}))
    assert found == expected
    assert same(training.model, undisturbed.model)


def test_a_range_test_within_a_training_begins_at_the_trained_weights():
    training = lrs.train(free(), Constant(LR))
    training.advance(16)  # two passes: the next batch is the first
    curve = training.range_test(**RAMP)
    model = seeded()
    by_hand(model, schedulefree.AdamWScheduleFree, 16)
    assert curve.loss[0] == pytest.approx(squared_error(model, data()[0]).item(), rel=1e-6)


def test_refinding_and_probing_work_with_it():
    found = lrs.refind(free(), Constant(LR), at=[0, 10, 30], range_test=RAMP)
    assert list(found.curves) == [0, 10, 30]
    trials = lrs.compare(free(), strategies=["probe"], schedules=["constant"], budget=6, seeds=1, storage=None).trials
    assert set(trials["outcome"]) == {"finished"}


def test_the_optimizers_character_does_not_depend_on_how_far_it_has_trained():
    model = seeded()
    fresh = schedulefree.SGDScheduleFree(model.parameters(), lr=1.0)
    trained = by_hand(seeded(), schedulefree.SGDScheduleFree, 20)
    from lr_search.character import character

    found = character(fresh)
    assert found == character(trained)
    assert found["scaling"] == pytest.approx(1.0)  # its steps grow with the gradient, as SGD's


def test_capture_holds_the_mode():
    model = seeded()
    optimizer = by_hand(model, schedulefree.SGDScheduleFree, 5)
    before = copy.deepcopy(model)
    captured = capture(model, optimizer)
    optimizer.eval()
    captured.restore()
    assert optimizer.param_groups[0]["train_mode"]
    assert same(model, before)
