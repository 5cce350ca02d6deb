"""Optimizers by name, the strategy `defaults`, and optimizers as a dimension of a comparison."""

import functools
import pickle
import sys

import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import FingerprintError, InvalidInputError, MissingPackageError, UnknownNameError, WorkloadError
from tests.helpers.command_line import write
from tests.helpers.workloads import line

pytestmark = pytest.mark.usefixtures("quick_pictures")

PACKAGES = {"prodigy": "prodigyopt", "schedule_free": "schedulefree", "schedule_free_sgd": "schedulefree"}
OURS = {"lion": "lr_search", "muon": "lr_search"}
DOCUMENTED = {  # torch.optim's documentation; Lion's authors' code
    "sgd": 1e-3, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-2, "adagrad": 1e-2, "nadam": 2e-3, "radam": 1e-3,
    "adafactor": 1e-2, "muon": 1e-3, "lion": 1e-4,
}  # fmt: skip
MOMENTUM = {"rmsprop": 0.0, "muon": 0.95}
SETTINGS = {"schedules": ["constant"], "budget": 2, "seeds": 1, "storage": None, "progress": False}


def compared(**changes):
    return lrs.compare(changes.pop("workload", None) or line(), **{**SETTINGS, **changes})


class NoDefault(torch.optim.SGD):
    def __init__(self, params, lr, momentum=0.0):
        super().__init__(params, lr=lr, momentum=momentum)


def with_default(params, lr=0.25):
    return torch.optim.SGD(params, lr=lr)


@pytest.mark.parametrize("name", lrs.optimizers.NAMES)
def test_every_name_makes_an_optimizer_that_can_be_sent_to_another_process(name):
    factory = lrs.optimizers.by_name(name)
    assert isinstance(factory, type | functools.partial)
    weight = torch.nn.Parameter(torch.ones(2))
    made = pickle.loads(pickle.dumps(factory))([weight], lr=0.5)
    assert isinstance(made, torch.optim.Optimizer)
    assert made.param_groups[0]["lr"] == 0.5
    assert type(made).__module__.partition(".")[0] == (PACKAGES | OURS).get(name, "torch")
    assert made.param_groups[0].get("momentum", 0.9) == MOMENTUM.get(name, 0.9)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"The optimizer must be one that exists, but got 'adma'. Did you mean 'adam"
    ):
        lrs.optimizers.by_name("adma")


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_missing_package_is_told_how_to_install(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    expected = f"The optimizer '{name}' needs {package}: pip install \"lr-search[lr-free]\"."
    with pytest.raises(MissingPackageError) as caught:
        compared(optimizers=["sgd", name])
    assert str(caught.value) == expected


@pytest.mark.parametrize(("name", "kind", "version"), [("adafactor", "Adafactor", "2.5"), ("muon", "Muon", "2.9")])
def test_a_torch_that_lacks_one_is_told_which_brings_it(name, kind, version, monkeypatch):
    monkeypatch.delattr(torch.optim, kind)
    expected = (
        f"The optimizer '{name}' needs torch>={version}, which brings torch.optim.{kind}, but got torch {torch.__version__}: "
        f'pip install "torch>={version}".'
    )
    with pytest.raises(MissingPackageError) as caught:
        compared(optimizers=["lion", name])
    assert str(caught.value) == expected
    assert len(compared(optimizers=["lion"], strategies={"at": 0.01}).trials) == 1  # the others do without it


def test_defaults_is_one_training_at_the_documented_default():
    workload = line(num_steps=5, eval_every=5)
    trials = compared(workload=workload, strategies=["defaults"], optimizers=list(DOCUMENTED), seeds=2).trials
    assert len(trials) == 2 * len(DOCUMENTED)
    assert trials.groupby("optimizer", observed=True)["lr"].agg(set).to_dict() == {
        name: {lr} for name, lr in DOCUMENTED.items()
    }
    assert set(trials["strategy"]) == {"defaults"}
    assert set(trials["steps_charged"]) == {5}


@pytest.mark.parametrize(
    ("factory", "lr"),
    [
        (torch.optim.Adagrad, 0.01),
        (functools.partial(torch.optim.Adagrad, lr=0.5), 0.5),
        (functools.partial(functools.partial(torch.optim.SGD, lr=0.5), momentum=0.9), 0.5),
        (with_default, 0.25),
        (lambda params, lr: torch.optim.Adagrad(params, lr=lr), 0.01),
        (lambda params, **settings: torch.optim.SGD(params, **settings), 0.001),
    ],
)
def test_the_default_is_the_users_own_if_any_and_else_the_classs(factory, lr):
    comparison = compared(strategies=["defaults"], optimizers={"mine": factory}, lr_range=(2.0, 3.0))
    assert comparison.trials["lr"].tolist() == [lr]  # outside the range that is searched
    assert comparison.recommend().lr == lr


def test_the_training_at_the_default_is_the_one_that_train_runs():
    comparison = compared(strategies=["defaults"], optimizers=["rmsprop"], seeds=[3])
    training = lrs.train(line(optimizer=torch.optim.RMSprop), lrs.schedules.Constant(0.01), seed=3)
    assert comparison.trials["objective"].tolist() == [list(training)[-1].metrics["loss"]]


@pytest.mark.parametrize("factory", [NoDefault, lambda params, lr: NoDefault(params, lr)])
def test_an_optimizer_without_a_default_is_told_the_remedy(factory):
    message = (
        r"The strategy 'defaults' needs an optimizer with a default learning rate, but 'mine' has none\. "
        r"Give it one, such as functools.partial\(NoDefault, lr=1e-3\), or leave the strategy out\."
    )
    with pytest.raises(InvalidInputError, match=message):
        compared(strategies=["defaults"], optimizers={"mine": factory})
    assert len(compared(strategies=["random"], optimizers={"mine": factory}).trials) == 2  # the others do without


def test_another_default_is_another_comparison(tmp_path):
    settings = {"strategies": ["defaults"], "storage": f"sqlite:///{tmp_path}/a.db"}
    first = compared(optimizers={"o": functools.partial(torch.optim.SGD, lr=0.1)}, **settings)
    again = compared(optimizers={"o": functools.partial(torch.optim.SGD, lr=0.1)}, **settings)
    pd.testing.assert_frame_equal(first.trials, again.trials)  # nothing was trained
    with pytest.raises(FingerprintError, match=r"default_lr differs: 0\.1 then, 0\.2 now"):
        compared(optimizers={"o": functools.partial(torch.optim.SGD, lr=0.2)}, **settings)


def test_optimizers_by_name_are_a_dimension():
    names = ["sgd", "adam", "rmsprop", "adagrad"]
    comparison = compared(
        optimizers=names, strategies={"random": "random", "mine": 0.01, "promise": "defaults"}, seeds=2,
        schedules=["constant", "sgdr"],
    )  # fmt: skip
    counts = comparison.trials.groupby(["optimizer", "strategy", "schedule"], observed=True).size()
    expected = {
        (optimizer, strategy, schedule): trials * 2
        for optimizer in names
        for strategy, trials in {"random": 2, "mine": 1, "promise": 1}.items()
        for schedule in ("constant", "sgdr")
    }
    assert counts.to_dict() == expected
    assert len(comparison.summary(full=True)) == len(expected)
    # within a seed, every optimizer starts from the same weights
    start = (
        comparison.evaluations.query("step == 0 and metric == 'loss'").groupby("seed", observed=True)["value"].nunique()
    )
    assert start.tolist() == [1, 1]


def test_a_mapping_may_hold_names_and_factories():
    mapping = {"mine": functools.partial(torch.optim.SGD, momentum=0.5), "theirs": "adam"}
    trials = compared(optimizers=mapping, strategies={"at": 0.01}).trials
    assert trials["optimizer"].tolist() == ["mine", "theirs"]
    for name, factory in (("mine", mapping["mine"]), ("theirs", torch.optim.Adam)):
        training = lrs.train(line(optimizer=factory), lrs.schedules.Constant(0.01), seed=0)
        value = trials.set_index("optimizer")["objective"][name]
        assert list(training)[-1].metrics["loss"] == value


@pytest.mark.parametrize(
    ("optimizers", "error", "message"),
    [
        ([], InvalidInputError, r"optimizers must be names, .* but got optimizers=\[\]"),
        ({}, InvalidInputError, r"optimizers must be names, .* but got optimizers=\{\}"),
        ({"sgd": 0.1}, InvalidInputError, "optimizers must be .* a mapping of texts to a text or a function"),
        (torch.optim.SGD, InvalidInputError, "optimizers must be a text, a sequence of texts or .* Such as"),
        ([torch.optim.SGD], InvalidInputError, "optimizers must be a text, a sequence of texts or"),
        (["sgd", "sgd"], InvalidInputError, r"optimizers must differ in name, but got optimizers=\['sgd', 'sgd'\]"),
        (["sdg"], UnknownNameError, "Did you mean 'sgd'"),
        ({"mine": "sdg"}, UnknownNameError, "Did you mean 'sgd'"),
    ],
)
def test_bad_optimizers_get_a_message(optimizers, error, message):
    with pytest.raises(error, match=message):
        compared(optimizers=optimizers)


def test_a_factory_that_raises_is_found_before_anything_is_trained():
    def broken(params, lr):
        raise RuntimeError("no such device")

    with pytest.raises(WorkloadError, match="but with the optimizer 'broken' it raised RuntimeError: no such device"):
        compared(optimizers={"sgd": torch.optim.SGD, "broken": broken}, strategies={"mine": 0.1})


def test_on_the_command_line(cli, folder, caplog):
    name = write(folder)
    options = ("--strategies", "defaults", "--schedules", "constant", "--seeds", "1", "--budget", "1")
    cli("compare", f"{name}:good", *options, "--optimizers", "sgd,adam, prodigy")
    found = pd.read_csv(folder / "report" / "trials.csv").set_index("optimizer")["lr"]
    assert found.to_dict() == {"sgd": 0.001, "adam": 0.001, "prodigy": 1.0}
    assert "prodigy finds its learning rate itself" in caplog.text
    wrong = cli("compare", f"{name}:good", *options, "--optimizers", "adm", code=2)
    assert "Did you mean 'adam'" in wrong.stderr


def test_one_training_searches_no_shape():
    comparison = compared(
        strategies={"random": "random", "promise": "defaults", "mine": 0.1}, schedules=["triangular2"], search_shape=True
    )  # fmt: skip
    by_strategy = {s.plan["strategy"]: s for s in comparison.records if s.kind == "search"}
    assert by_strategy["random"].plan["search_shape"]
    for name, lr in (("promise", 0.001), ("mine", 0.1)):  # as laid out by the papers' rules
        training = lrs.train(line(), lrs.schedules.by_name("triangular2", lr, 30, 8), seed=0)
        assert by_strategy[name].trials[0].value == list(training)[-1].metrics["loss"]
        assert not by_strategy[name].plan["search_shape"]
