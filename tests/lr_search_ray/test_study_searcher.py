"""StudySearcher and OptunaPruningScheduler: a plain Optuna study in a Tuner of one's own."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray import tune

from lr_search import LRPrior
from lr_search.errors import InvalidInputError
from lr_search.samplers import RangeTestSampler
from lr_search_ray import OptunaPruningScheduler, StudySearcher, search_space

pytestmark = pytest.mark.ray

SPACE = {"lr": tune.loguniform(1e-4, 1.0)}


class Falling(tune.Trainable):
    """The loss is the distance of log10 lr from -2, and falls to it over 8 iterations."""

    def setup(self, config: dict[str, Any]) -> None:
        self.goal, self.at = abs(math.log10(config["lr"]) + 2), 0

    def step(self) -> dict[str, Any]:
        self.at += 1
        return {"loss": self.goal + 8 - self.at, "done": self.at == 8}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Tune saves at the end."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


def fitted(searcher: StudySearcher, path: Path, trainable: Any = Falling, **changes: Any) -> list[dict[str, Any]]:
    """Run a Tuner, on one worker, which takes seconds to start. Returns: the last result of each trial."""
    settings: dict[str, Any] = {"num_samples": 8, "max_concurrent_trials": 1, "reuse_actors": True}
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=OptunaPruningScheduler(searcher), **settings | changes
        ),
        run_config=tune.RunConfig(storage_path=str(path), verbose=0),
    )
    return [result.metrics or {} for result in tuner.fit()]


def heard(searcher: StudySearcher, trial_id: str, *losses: float) -> list[bool]:
    return [searcher.heard(trial_id, {"loss": loss, "training_iteration": i}) for i, loss in enumerate(losses, 1)]


def test_what_the_pruner_cuts_is_stopped_in_tune_and_pruned_in_optuna(shared_ray: None, tmp_path: Path) -> None:
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0), pruner=optuna.pruners.MedianPruner(n_startup_trials=3)
    )
    with StudySearcher(study, SPACE, metric="loss") as searcher:
        results = fitted(searcher, tmp_path)
    assert len(study.trials) == 8
    of = {trial.user_attrs["ray_trial_id"]: trial for trial in study.trials}
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert 1 <= len(pruned) <= 5
    for result in results:
        trial = of[result["trial_id"]]
        if trial.state == TrialState.PRUNED:
            assert result["training_iteration"] == max(trial.intermediate_values) < 8
            assert trial.value == result["loss"]
        else:
            assert trial.state == TrialState.COMPLETE
            assert trial.value == pytest.approx(abs(math.log10(trial.params["lr"]) + 2))
            assert sorted(trial.intermediate_values) == list(range(1, 8))  # the last has been paid for


def test_the_study_s_sampler_proposes(shared_ray: None, tmp_path: Path) -> None:
    prior = LRPrior.around(1e-2, factor=3)
    study = optuna.create_study(sampler=RangeTestSampler(prior))
    with StudySearcher(study, {**search_space(prior), "width": 64}, metric="loss") as searcher:
        results = fitted(searcher, tmp_path, num_samples=1)
    assert study.trials[0].params["lr"] == results[0]["config"]["lr"] == prior.mode
    assert results[0]["config"]["width"] == 64


def test_the_space_may_be_domains_distributions_constants_or_a_function_of_the_trial() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = {
        "lr": tune.loguniform(1e-4, 1.0),
        "layers": tune.randint(1, 4),
        "kind": tune.choice(["a", "b"]),
        "decay": FloatDistribution(0.0, 0.1),
        "epochs": 3,
    }
    config = StudySearcher(study, space, metric="loss").suggest("one")
    assert study.trials[0].distributions == {
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "layers": IntDistribution(1, 3),
        "kind": CategoricalDistribution(("a", "b")),
        "decay": FloatDistribution(0.0, 0.1),
    }
    assert config == {**study.trials[0].params, "epochs": 3}

    def own(trial: optuna.Trial) -> dict[str, Any]:
        return {"lr": trial.suggest_float("lr", 1e-4, 1.0, log=True), "twice": 2}

    assert StudySearcher(study, own, metric="loss").suggest("two") == {**study.trials[1].params, "twice": 2}


@pytest.mark.parametrize(
    ("direction", "result", "state", "value"),
    [
        ("minimize", {"loss": 0.5}, TrialState.COMPLETE, 0.5),
        ("minimize", {"loss": math.nan}, TrialState.COMPLETE, math.inf),
        ("maximize", {"loss": math.nan}, TrialState.COMPLETE, -math.inf),
        ("minimize", {"other": 1.0}, TrialState.FAIL, None),
        ("minimize", None, TrialState.FAIL, None),
    ],
)
def test_what_a_trial_ended_with_is_told_once(
    direction: str, result: dict[str, Any] | None, state: TrialState, value: float | None
) -> None:
    study = optuna.create_study(direction=direction)
    searcher = StudySearcher(study, SPACE, metric="loss")
    searcher.suggest("one")
    searcher.on_trial_complete("one", result)
    searcher.on_trial_complete("one", {"loss": 7.0})
    assert (study.trials[0].state, study.trials[0].value) == (state, value)


def test_an_error_is_a_failure_whatever_was_reported() -> None:
    study = optuna.create_study()
    searcher = StudySearcher(study, SPACE, metric="loss")
    searcher.suggest("one")
    assert heard(searcher, "one", 0.5) == [False]
    searcher.on_trial_complete("one", {"loss": 0.5}, error=True)
    assert study.trials[0].state == TrialState.FAIL


def test_a_step_that_comes_again_is_neither_reported_nor_judged_twice() -> None:
    class Counting(optuna.pruners.BasePruner):
        asked = 0

        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            self.asked += 1
            return False

    pruner = Counting()
    study = optuna.create_study(pruner=pruner)
    searcher = StudySearcher(study, SPACE, metric="loss")
    searcher.suggest("one")
    heard(searcher, "one", 3.0, 2.0)
    heard(searcher, "one", 9.0, 2.0, 1.0)  # its worker was lost, and it goes on from before
    assert study.trials[0].intermediate_values == {1: 3.0, 2: 2.0, 3: 1.0}
    assert pruner.asked == 3


def test_nan_is_reported_as_very_bad() -> None:
    study = optuna.create_study(direction="maximize")
    searcher = StudySearcher(study, SPACE, metric="loss")
    searcher.suggest("one")
    heard(searcher, "one", math.nan)
    assert study.trials[0].intermediate_values == {1: -1e100}


def test_what_tune_leaves_is_told_at_the_end_of_the_block() -> None:
    study = optuna.create_study()
    with StudySearcher(study, SPACE, metric="loss") as searcher:
        searcher.suggest("one")
        searcher.suggest("two")
        searcher.on_trial_complete("one", {"loss": 1.0})
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]


def test_a_restored_searcher_finds_its_trials_again(tmp_path: Path) -> None:
    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/study.db",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.ThresholdPruner(upper=5.0),
    )
    searcher = StudySearcher(study, SPACE, metric="loss")
    searcher.suggest("one")
    heard(searcher, "one", 3.0)
    restored = pickle.loads(pickle.dumps(searcher))
    assert heard(restored, "one", 99.0, 6.0) == [False, True]  # the first step had been told
    restored.on_trial_complete("one", {"loss": 6.0})
    assert study.trials[0].state == TrialState.PRUNED
    assert study.trials[0].intermediate_values == {1: 3.0, 2: 6.0}


def test_a_study_in_memory_is_not_copied() -> None:
    restored = pickle.loads(pickle.dumps(StudySearcher(optuna.create_study(), SPACE, metric="loss")))
    with pytest.raises(InvalidInputError, match=r"kept in memory alone\. Give the study a storage"):
        restored.suggest("one")


def test_wrong_use_is_told() -> None:
    two = optuna.create_study(directions=["minimize", "maximize"])
    with pytest.raises(InvalidInputError, match="the study must have one objective, but got 2"):
        StudySearcher(two, SPACE, metric="loss")
    with pytest.raises(InvalidInputError, match="The space must be of domains that Optuna knows, but: "):
        StudySearcher(optuna.create_study(), {"lr": tune.randn()}, metric="loss")
    with pytest.raises(InvalidInputError, match="Grid search"):
        StudySearcher(optuna.create_study(), {"lr": tune.grid_search([1, 2])}, metric="loss")
