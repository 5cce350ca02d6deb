"""Our samplers in the studies people have: several processes, kills, enqueued trials, other samplers around and inside."""

import json
import math
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from lr_search.curves.prior import LRPrior
from lr_search.errors import InvalidInputError
from lr_search.samplers import FixedSampler, GridSampler, PointSampler, ProbeSampler, RandomSampler
from tests.helpers.workers import Start, workers

LOW, HIGH = 1e-5, 10.0
RANGE = FloatDistribution(LOW, HIGH, log=True)
PRIOR = LRPrior(low=LOW, high=HIGH, mode=0.02, log10_std=0.6)
SAMPLERS: dict[str, Callable[..., PointSampler]] = {
    "grid": partial(GridSampler, 8, seed=3),
    "random": partial(RandomSampler, seed=3),
    "probe": partial(ProbeSampler, 0.5, seed=3),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*experimental:optuna.exceptions.ExperimentalWarning")


def lr_of(trial: optuna.Trial, name: str = "lr") -> float:
    return trial.suggest_float(name, LOW, HIGH, log=True)


def objective(trial: optuna.Trial) -> float:
    return abs(math.log10(lr_of(trial) / 0.03))


def with_others(trial: optuna.Trial) -> float:
    """The LR, and two parameters whose best values are 64 and 0.1."""
    width, decay = trial.suggest_int("width", 1, 1000, log=True), trial.suggest_float("decay", 0.0, 1.0)
    return objective(trial) + abs(math.log10(width / 64)) + abs(decay - 0.1)


def points(sampler: PointSampler, count: int, name: str = "lr") -> list[float]:
    return [sampler.point(number, name, RANGE) for number in range(count)]


def lrs(study: optuna.Study, name: str = "lr") -> list[float]:
    return [trial.params[name] for trial in study.trials]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture(params=SAMPLERS)
def make(request: pytest.FixtureRequest) -> Callable[..., PointSampler]:
    return SAMPLERS[request.param]


# --- threads and processes


def test_four_threads_repeat_no_point_and_skip_none(make: Callable[..., PointSampler]) -> None:
    study = optuna.create_study(sampler=make())
    study.optimize(objective, n_trials=40, n_jobs=4)
    assert lrs(study) == points(make(), 40)


WORKER = f"""
import sys, time
import optuna
from lr_search.samplers import GridSampler, ProbeSampler, RandomSampler
from lr_search.storage.open import open_storage
storage = open_storage(sys.argv[1])
samplers = {{"grid": GridSampler(8, seed=3), "random": RandomSampler(seed=3), "probe": ProbeSampler(0.5, seed=3)}}
for name, sampler in samplers.items():
    study = optuna.load_study(study_name=name, storage=storage, sampler=sampler)
    for _ in range(int(sys.argv[2])):
        trial = study.ask()
        trial.suggest_float("lr", {LOW}, {HIGH}, log=True)
        study.tell(trial, 1.0)
    if len(sys.argv) > 3:  # in the middle of a trial when it is killed
        study.ask().suggest_float("lr", {LOW}, {HIGH}, log=True)
if len(sys.argv) > 3:
    print("ready", flush=True)
    time.sleep(600)
"""


def started(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def start() -> Iterator[Start]:
    with workers(started) as begun:
        yield begun


def finished(worker: subprocess.Popen[str]) -> None:
    _, errors = worker.communicate(timeout=120)
    assert worker.returncode == 0, errors


@pytest.mark.processes
def test_two_processes_on_one_storage_repeat_no_point_and_skip_none(tmp_path: Path, start: Start) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    studies = {name: optuna.create_study(storage=url, study_name=name) for name in SAMPLERS}
    for worker in [start(url, "10"), start(url, "10")]:
        finished(worker)
    for name, study in studies.items():
        assert [trial.number for trial in study.trials] == list(range(20))
        assert lrs(study) == points(SAMPLERS[name](), 20), name


@pytest.mark.processes
def test_after_a_kill_the_sequence_goes_on(tmp_path: Path, start: Start) -> None:
    url = f"sqlite:///{tmp_path / 'killed.db'}"
    studies = {name: optuna.create_study(storage=url, study_name=name) for name in SAMPLERS}
    worker = start(url, "3", "hang")
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n", worker.communicate()[1]
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    finished(start(url, "4"))
    for name, study in studies.items():
        assert lrs(study) == points(SAMPLERS[name](), 8), name
        assert [trial.state for trial in study.trials].count(TrialState.RUNNING) == 1  # the one that was killed


# --- enqueued trials


def test_an_enqueued_lr_is_used_and_uses_up_no_point(make: Callable[..., PointSampler]) -> None:
    study = optuna.create_study(sampler=make())
    study.enqueue_trial({"lr": 1e-3})
    study.optimize(objective, n_trials=3)
    study.enqueue_trial({"lr": 2e-3})
    study.enqueue_trial({"lr": 3e-3})
    study.optimize(objective, n_trials=7)
    expected = points(make(), 7)
    assert lrs(study) == [1e-3, *expected[:2], 2e-3, 3e-3, *expected[2:]]


def test_what_is_enqueued_while_trials_run_changes_none_of_them(make: Callable[..., PointSampler]) -> None:
    study = optuna.create_study(sampler=make())
    first, second = study.ask(), study.ask()
    study.enqueue_trial({"lr": 1e-3})
    assert [lr_of(second), lr_of(first)] == points(make(), 2)[::-1]
    assert [lr_of(study.ask()), lr_of(study.ask())] == [1e-3, points(make(), 3)[2]]


def test_an_enqueued_trial_without_the_lr_gets_the_next_point(make: Callable[..., PointSampler]) -> None:
    study = optuna.create_study(sampler=make())
    study.enqueue_trial({"width": 7})
    study.enqueue_trial({"width": 8, "lr": 0.5})
    study.optimize(with_others, n_trials=4)
    expected = points(make(), 3)
    assert lrs(study) == [expected[0], 0.5, *expected[1:]]
    assert [trial.params["width"] for trial in study.trials][:2] == [7, 8]


# --- Hyperband and PartialFixedSampler


def test_a_study_under_hyperband_gets_the_same_points(make: Callable[..., PointSampler]) -> None:
    def reporting(trial: optuna.Trial) -> float:
        value = with_others(trial)
        for step in range(1, 9):
            trial.report(value, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    for inner in (None, TPESampler, partial(TPESampler, multivariate=True)):
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=8, reduction_factor=2)
        study = optuna.create_study(sampler=make(inner=inner), pruner=pruner)
        study.enqueue_trial({"lr": 1e-3})
        study.optimize(reporting, n_trials=25)
        assert lrs(study) == [1e-3, *points(make(), 24)]
        assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}


@pytest.mark.parametrize("inner", [None, TPESampler, partial(TPESampler, multivariate=True)])
def test_partial_fixed_sampler_around_ours(make: Callable[..., PointSampler], inner: Any) -> None:
    study = optuna.create_study(sampler=make(inner=inner))
    study.optimize(with_others, n_trials=12)
    for fixed in ({"width": 5}, {"lr": 0.25}):
        study.sampler = optuna.samplers.PartialFixedSampler(fixed, make(inner=inner))
        study.optimize(with_others, n_trials=3)
    assert lrs(study) == [*points(make(), 15), 0.25, 0.25, 0.25]
    assert [trial.params["width"] for trial in study.trials][12:15] == [5, 5, 5]


# --- other parameters, by an inner sampler

INNER: dict[str, Any] = {
    "TPE": TPESampler,
    "TPE, as an object": TPESampler(seed=0),
    "multivariate TPE": partial(TPESampler, multivariate=True, n_startup_trials=4),
    "TPE in groups": partial(TPESampler, multivariate=True, group=True, n_startup_trials=4),
    "GP": partial(optuna.samplers.GPSampler, n_startup_trials=11),
    "CMA-ES": optuna.samplers.CmaEsSampler,
    "NSGA-II": partial(optuna.samplers.NSGAIISampler, population_size=4),
    "random": optuna.samplers.RandomSampler,
    "QMC": optuna.samplers.QMCSampler,
}


@pytest.mark.parametrize("name", INNER)
@pytest.mark.filterwarnings("ignore:.*greenlet")
def test_an_inner_sampler_serves_the_other_parameters_and_leaves_the_lr_alone(name: str) -> None:
    study = optuna.create_study(sampler=GridSampler(8, seed=3, inner=INNER[name]))
    study.optimize(with_others, n_trials=14)
    assert lrs(study) == points(GridSampler(8, seed=3), 14)
    others = [(trial.params["width"], trial.params["decay"]) for trial in study.trials]
    assert len(set(others)) > 7  # NSGA-II crosses what there is, and a GP likes corners
    assert all(1 <= width <= 1000 and 0 <= decay <= 1 for width, decay in others)


@pytest.mark.parametrize("name", ["TPE", "multivariate TPE", "CMA-ES"])
def test_an_inner_sampler_learns_from_the_study(name: str) -> None:
    study = optuna.create_study(sampler=FixedSampler(0.03, seed=0, inner=INNER[name]))
    study.optimize(with_others, n_trials=30)
    errors = [abs(math.log10(trial.params["width"] / 64)) + abs(trial.params["decay"] - 0.1) for trial in study.trials]
    assert np.mean(errors[20:]) < 0.7 * np.mean(errors[:8])


class Spy(TPESampler):
    """Keeps what it was called with."""

    calls: list[str]

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.calls = []

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        self.calls.append("infer")
        return {"lr": RANGE, "kind": CategoricalDistribution(["a", "b"])}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        self.calls.append(f"relative {sorted(search_space)}")
        return {"lr": 0.123, "kind": "b"}  # more than it was asked for, as TPE's groups do

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        self.calls.append(f"independent {param_name}")
        return super().sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Any, trial: Any) -> None:
        self.calls.append("before")

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self.calls.append(f"after {state.name} {values}")

    def reseed_rng(self) -> None:
        self.calls.append("reseed")


def test_an_inner_sampler_is_called_as_optuna_would_and_not_for_the_lr() -> None:
    spy = Spy()
    study = optuna.create_study(sampler=GridSampler(8, seed=3, inner=spy))
    trial = study.ask()
    assert trial.suggest_categorical("kind", ["a", "b"]) == "b"
    assert lr_of(trial) == points(GridSampler(8, seed=3), 1)[0]
    trial.suggest_int("width", 1, 9)
    study.tell(trial, 0.5)
    assert spy.calls == ["before", "infer", "relative ['kind']", "independent width", "after COMPLETE [0.5]"]
    study.sampler.reseed_rng()
    assert spy.calls[-1] == "reseed"


@pytest.mark.parametrize("inner", [None, TPESampler, partial(TPESampler, multivariate=True)])
def test_a_restart_with_an_inner_sampler_goes_on_as_an_undisturbed_study(inner: Any) -> None:
    whole = optuna.create_study(sampler=GridSampler(8, inner=inner))
    whole.optimize(with_others, n_trials=16)
    storage = optuna.storages.InMemoryStorage()
    for count in (7, 9):
        sampler = pickle.loads(pickle.dumps(GridSampler(8, inner=inner)))
        study = optuna.create_study(storage=storage, study_name="a", sampler=sampler, load_if_exists=True)
        study.optimize(with_others, n_trials=count)
    assert [trial.params for trial in study.trials] == [trial.params for trial in whole.trials]


def test_an_inner_sampler_that_is_none_is_an_error(make: Callable[..., PointSampler]) -> None:
    with pytest.raises(
        InvalidInputError, match=r"inner must be an optuna.samplers.BaseSampler, a function or None, but got 'tpe'"
    ):
        make(inner="tpe")
    with pytest.raises(InvalidInputError, match="must return an Optuna sampler, but got dict"):
        make(inner=dict)


# --- several LRs


def both(trial: optuna.Trial) -> float:
    return lr_of(trial) + lr_of(trial, "head_lr")


def test_each_step_of_each_lr_is_tried_once_a_lap_and_the_first_keeps_its_points() -> None:
    sampler = GridSampler(8, param=["lr", "head_lr"], seed=3)
    study = optuna.create_study(sampler=sampler)
    study.optimize(both, n_trials=32)
    assert lrs(study) == points(GridSampler(8, seed=3), 32)
    shares = np.log(np.array(lrs(study, "head_lr")) / LOW) / math.log(HIGH / LOW)
    steps = np.floor(shares * 8).astype(int).reshape(4, 8)
    assert (np.sort(steps, axis=1) == np.arange(8)).all()
    assert len({tuple(lap) for lap in steps.tolist()}) == 4  # each lap pairs the steps anew
    np.testing.assert_allclose(np.diff(np.sort(shares)), 1 / 32, rtol=1e-6)


def test_the_orders_and_phases_of_several_lrs_differ_from_name_to_name_and_seed_to_seed() -> None:
    samplers = [GridSampler(16, param=["lr", "a", "b"], seed=seed) for seed in (0, 1)]
    seen = {tuple(points(sampler, 16, name)) for sampler in samplers for name in ("lr", "a", "b")}
    assert len(seen) == 6
    shares = [np.log(np.array(each) / LOW) / math.log(HIGH / LOW) for each in seen]
    assert len({round(float(each[0] * 16 % 1), 6) for each in shares}) == 6
    first, second = (np.log(points(samplers[0], 16, name)) for name in ("lr", "a"))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.6


def test_several_random_lrs_are_independent_and_a_probe_s_are_the_same() -> None:
    for sampler, alike in (
        (RandomSampler(param=["lr", "head_lr"], seed=3), False),
        (ProbeSampler(0.5, ["lr", "head_lr"], seed=3), True),
    ):
        study = optuna.create_study(sampler=sampler)
        study.optimize(both, n_trials=12)
        assert lrs(study) == points(sampler, 12)
        assert (lrs(study) == lrs(study, "head_lr")) is alike
        assert alike or not set(lrs(study)) & set(lrs(study, "head_lr"))


@pytest.mark.parametrize("param", ["", [], [""], ["lr", "lr"], ["lr", 3]])
def test_names_that_are_none_are_an_error(make: Callable[..., PointSampler], param: Any) -> None:
    with pytest.raises(
        InvalidInputError,
        match=r"param must be (the name of the LR, or several different names|a text or a sequence of texts), but got",
    ):
        make(param=param)


# --- another process


@pytest.mark.processes
def test_several_lrs_and_their_order_are_the_same_in_another_process() -> None:
    code = (
        "import json, optuna\n"
        "from lr_search.samplers import GridSampler\n"
        f"distribution = optuna.distributions.FloatDistribution({LOW}, {HIGH}, log=True)\n"
        "sampler = GridSampler(8, param=['lr', 'head_lr'], seed=3)\n"
        "print(json.dumps([sampler.point(n, 'head_lr', distribution) for n in range(20)]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == points(GridSampler(8, param=["lr", "head_lr"], seed=3), 20, "head_lr")
