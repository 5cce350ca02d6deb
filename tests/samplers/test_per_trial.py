"""Foreign samplers made anew for each trial: one sequence over restarts, kills, threads and processes."""

import json
import math
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, TPESampler
from optuna.trial import TrialState
from scipy.stats import qmc

from lr_search.samplers import HandoverSampler, PerTrialSampler
from lr_search.storage.open import open_storage
from tests.helpers.workers import Start, workers

LOW, HIGH = 1e-5, 10.0
FACTORIES: dict[str, Callable[..., BaseSampler]] = {
    "tpe": partial(TPESampler, n_startup_trials=4),
    "multivariate tpe": partial(TPESampler, n_startup_trials=4, multivariate=True),
    "gp": partial(GPSampler, n_startup_trials=4),
    "cmaes": CmaEsSampler,
    "nsgaii": partial(NSGAIISampler, population_size=4),
    "random": optuna.samplers.RandomSampler,
    "sobol": QMCSampler,
    "scrambled sobol": partial(QMCSampler, scramble=True),
    "scrambled halton": partial(QMCSampler, scramble=True, qmc_type="halton"),
}
QUICK = [name for name in FACTORIES if name != "gp"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*experimental:optuna.exceptions.ExperimentalWarning"),
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def objective(trial: optuna.Trial) -> float:
    return math.log10(trial.suggest_float("lr", LOW, HIGH, log=True) / 0.03) ** 2


def ran(factory: Callable[..., BaseSampler], *counts: int, seed: int = 2) -> list[float]:
    """The LRs of a study that is stopped and started again after each count of trials."""
    storage = optuna.storages.InMemoryStorage()
    for count in counts:
        sampler = pickle.loads(pickle.dumps(PerTrialSampler(factory, seed)))
        study = optuna.create_study(storage=storage, study_name="a", sampler=sampler, load_if_exists=True)
        study.optimize(objective, n_trials=count)
    return lrs(study)


def lrs(study: optuna.Study) -> list[float]:
    return [trial.params["lr"] for trial in study.trials]


def share(lr: float) -> float:
    return math.log(lr / LOW) / math.log(HIGH / LOW)


# --- restarts and kills


@pytest.mark.parametrize("name", FACTORIES)
def test_a_restart_goes_on_as_an_undisturbed_study_and_repeats_no_point(name: str) -> None:
    found = ran(FACTORIES[name], 3, 4, 2)
    assert found == ran(FACTORIES[name], 9)
    assert len(set(found)) == 9
    assert not set(found) & set(ran(FACTORIES[name], 4, seed=3)) or name == "sobol"  # which takes no seed


KILLED = """
import json, sys, time
from lr_search.samplers import PerTrialSampler
from lr_search.storage.open import open_storage
from tests.samplers.test_per_trial import FACTORIES, objective
import optuna
storage = open_storage(sys.argv[1])
for name in json.loads(sys.argv[2]):
    study = optuna.load_study(study_name=name, storage=storage, sampler=PerTrialSampler(FACTORIES[name], 2))
    study.optimize(objective, n_trials=int(sys.argv[3]))
    if len(sys.argv) > 4:
        objective(study.ask())  # in the middle of a trial when it is killed
print("ready", flush=True)
time.sleep(600 if len(sys.argv) > 4 else 0)
"""


def started(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", KILLED, *words]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def start() -> Iterator[Start]:
    with workers(started) as begun:
        yield begun


def ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n", worker.communicate()[1]


@pytest.mark.processes
def test_after_a_kill_in_a_trial_it_goes_on_as_an_undisturbed_study(tmp_path: Path, start: Start) -> None:
    url, names = f"sqlite:///{tmp_path / 'killed.db'}", json.dumps(list(FACTORIES))
    storage = open_storage(url)
    studies = {name: optuna.create_study(storage=storage, study_name=name) for name in FACTORIES}
    worker = start(url, names, "5", "hang")
    ready(worker)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    for study in studies.values():
        (orphan,) = study.get_trials(states=(TrialState.RUNNING,))
        storage.set_trial_state_values(orphan._trial_id, TrialState.WAITING)  # as `compare` does with orphans
    worker = start(url, names, "4")
    ready(worker)
    worker.communicate()
    for name, study in studies.items():
        assert lrs(study) == ran(FACTORIES[name], 9), name
        assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


@pytest.mark.processes
def test_two_processes_with_one_seed_repeat_no_point(tmp_path: Path, start: Start) -> None:
    url, storage = f"sqlite:///{tmp_path / 'shared.db'}", open_storage(f"sqlite:///{tmp_path / 'shared.db'}")
    studies = {name: optuna.create_study(storage=storage, study_name=name) for name in QUICK}
    workers = [start(url, json.dumps(QUICK), "10") for _ in range(2)]
    for worker in workers:
        ready(worker)
        worker.communicate()
    for name, study in studies.items():
        assert len(set(lrs(study))) == 20, name


# --- what a trial's sampler keeps


def test_each_trial_has_one_sampler_while_it_runs_and_trials_side_by_side_do_not_mix() -> None:
    seen: dict[str, list[BaseSampler]] = {"a": [], "b": []}

    class Watched(TPESampler):
        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            seen["a" if trial.number == 0 else "b"].append(self)
            return super().sample_independent(study, trial, param_name, param_distribution)

    sampler = PerTrialSampler(Watched)
    study = optuna.create_study(sampler=sampler)
    one, other = study.ask(), study.ask()
    drawn = [[trial.suggest_float(name, 0, 1) for trial in (one, other)] for name in ("x", "y", "z")]
    assert np.unique(drawn).size == 6  # one made anew for each parameter would draw the same number for all
    assert len({id(each) for each in seen["a"]}) == len({id(each) for each in seen["b"]}) == 1
    assert seen["a"][0] is not seen["b"][0]
    assert len(sampler._running) == 2
    study.tell(one, 1.0)
    study.tell(other, state=TrialState.FAIL)
    assert not sampler._running


def test_a_trial_that_goes_on_elsewhere_does_not_repeat_its_draws() -> None:
    study = optuna.create_study(sampler=PerTrialSampler(TPESampler))
    first = study.ask()
    drawn = first.suggest_float("x", 0, 1)
    again = optuna.trial.Trial(study, first._trial_id)  # as another process would hold it
    assert again.suggest_float("x", 0, 1) == drawn
    assert again.suggest_float("y", 0, 1) != drawn


@pytest.mark.parametrize("name", ["tpe", "random", "scrambled sobol"])
def test_threads_repeat_no_point_and_no_draw_within_a_trial(name: str) -> None:
    barrier = threading.Barrier(4)

    def in_step(trial: optuna.Trial) -> float:
        barrier.wait(timeout=60)  # four trials are always side by side
        drawn = [trial.suggest_float(parameter, 0.0, 1.0) for parameter in ("x", "y")]
        barrier.wait(timeout=60)
        return sum(drawn) + trial.suggest_float("z", 0.0, 1.0)

    sampler = PerTrialSampler(
        partial(FACTORIES[name], independent_sampler=None) if "sobol" in name else FACTORIES[name]
    )
    study = optuna.create_study(sampler=sampler)
    study.optimize(in_step, n_trials=24, n_jobs=4)
    values = [trial.params[parameter] for trial in study.trials for parameter in ("x", "y", "z")]
    assert len(set(values)) == 72
    assert not sampler._running


def test_random_draws_under_threads_are_those_of_one_thread() -> None:
    def three(trial: optuna.Trial) -> float:
        return sum(trial.suggest_float(parameter, 0.0, 1.0) for parameter in ("x", "y", "z"))

    studies = []
    for jobs in (1, 4):
        studies.append(optuna.create_study(sampler=PerTrialSampler(optuna.samplers.RandomSampler)))
        studies[-1].optimize(three, n_trials=20, n_jobs=jobs)
    assert [trial.params for trial in studies[0].trials] == [trial.params for trial in studies[1].trials]


def test_studies_that_share_one_do_not_mix() -> None:
    sampler = PerTrialSampler(TPESampler)
    one, other = optuna.create_study(sampler=sampler), optuna.create_study(sampler=sampler)
    trials = [one.ask(), other.ask()]  # number 0 and id 0, both
    assert len(sampler._running) == 2
    assert trials[0].suggest_float("x", 0, 1) == trials[1].suggest_float("x", 0, 1)


def test_it_can_be_pickled_while_a_trial_runs() -> None:
    sampler = PerTrialSampler(QMCSampler)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=2)
    objective(study.ask())
    again = pickle.loads(pickle.dumps(sampler))
    assert (len(sampler._running), len(again._running)) == (1, 0)


# --- factories


def test_a_factory_without_a_seed_is_called_once() -> None:
    made: list[BaseSampler] = []

    def factory() -> BaseSampler:
        made.append(TPESampler(seed=7))
        return made[-1]

    study = optuna.create_study(sampler=PerTrialSampler(factory))
    study.optimize(objective, n_trials=12)
    undisturbed = optuna.create_study(sampler=TPESampler(seed=7))
    undisturbed.optimize(objective, n_trials=12)
    assert lrs(study) == lrs(undisturbed)  # called anew, each of its first ten points would be the same
    assert len(made) == 1


# --- CMA-ES and QMC


def test_cma_es_goes_on_from_the_state_it_keeps_in_the_study() -> None:
    study = optuna.create_study(sampler=PerTrialSampler(CmaEsSampler, seed=1))
    study.optimize(objective, n_trials=40)
    generations = [trial.system_attrs.get("cma:generation", 0) for trial in study.trials]
    assert generations == sorted(generations)
    assert generations[-1] > 6
    errors = [abs(math.log10(lr / 0.03)) for lr in lrs(study)]
    assert np.mean(errors[-10:]) < np.mean(errors[:10]) / 4


@pytest.mark.parametrize("name", ["sobol", "scrambled sobol", "scrambled halton"])
def test_qmc_gives_one_sequence_over_a_restart(name: str) -> None:
    made: Any = FACTORIES[name](seed=2)
    engine = (qmc.Halton if "halton" in name else qmc.Sobol)(1, scramble="scrambled" in name, seed=2)
    assert made._seed == 2
    expected = engine.random(16)[1:10, 0]  # the first trial is drawn at random: what there is to place is not known yet
    assert [share(lr) for lr in ran(FACTORIES[name], 4, 6)[1:]] == pytest.approx(expected, abs=1e-12)


def test_qmc_that_two_processes_ask_at_once_repeats_no_point() -> None:
    storage = optuna.storages.InMemoryStorage()
    studies = [
        optuna.create_study(storage=storage, study_name="a", sampler=PerTrialSampler(QMCSampler), load_if_exists=True)
        for _ in range(2)
    ]
    studies[0].optimize(objective, n_trials=1)
    trials = [study.ask() for study in studies for _ in range(3)]
    # both read the study before either writes: the count that Optuna keeps there would be the same for both
    storage.get_study_system_attrs = lambda study_id: {}  # type: ignore[method-assign]
    found = [trial.suggest_float("lr", LOW, HIGH, log=True) for trial in trials]
    assert len(set(found)) == 6


# --- handing over


def test_a_handover_passes_every_call_to_the_trial_s_own_sampler() -> None:
    calls: list[tuple[str, str, int]] = []

    class Named(TPESampler):
        def __init__(self, name: str) -> None:
            super().__init__(seed=0, multivariate=True)
            self.name = name

        def before_trial(self, study: Any, trial: Any) -> None:
            calls.append((self.name, "before", trial.number))

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            calls.append((self.name, "infer", trial.number))
            return super().infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            calls.append((self.name, "relative", trial.number))
            return super().sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            calls.append((self.name, "independent", trial.number))
            return super().sample_independent(study, trial, param_name, param_distribution)

        def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
            calls.append((self.name, "after", trial.number))

        def reseed_rng(self) -> None:
            calls.append((self.name, "reseed", -1))

    sampler = HandoverSampler(Named("first"), Named("then"), num_first=2)
    optuna.create_study(sampler=sampler).optimize(objective, n_trials=3)
    steps = ("before", "infer", "relative", "independent", "after")
    assert calls == [
        (name, step, number) for name, number in (("first", 0), ("first", 1), ("then", 2)) for step in steps
    ]
    sampler.reseed_rng()
    assert calls[-2:] == [("first", "reseed", -1), ("then", "reseed", -1)]
