"""A plain Optuna study as the searcher of a user's own Tuner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from lr_search.errors import InvalidInputError, require
from lr_search.kinds.checked import checked
from lr_search.studies.pruning import reckonable
from lr_search_ray.tune.bridge import BridgeSearcher

TRIAL_ATTRIBUTE = "ray_trial_id"  # the trial attribute by which a restored Tuner finds its trials again

Space = Mapping[str, Any] | Callable[[optuna.Trial], Mapping[str, Any]]


@checked
class StudySearcher(BridgeSearcher):
    """The study's sampler proposes, and the study records how trials end: cut ones as PRUNED, lost ones as FAIL.

    Ray's OptunaSearch makes a study of its own, drops its pruner, records trials that a scheduler stopped as complete with what
    they had then, and leaves those that end in NaN running. Use it with `OptunaPruningScheduler`, and in a `with` block, for
    Tune tells no searcher of a Ctrl-C or of its time budget:

        with StudySearcher(study, search_space(prior), metric="loss", time_attr="step") as searcher:
            tuner = tune.Tuner(tune_objective(workload), tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=OptunaPruningScheduler(searcher), num_samples=20, max_concurrent_trials=4))
            tuner.fit()

    Several processes may not share one search, but several searches the study, where its storage allows that. A NaN counts as the
    worst there is.

    Args:
        study: with one objective; its direction says what is better.
        space: name -> Tune domain, Optuna distribution, or a constant; or a function of the Optuna trial that returns the trial's
            config, such as `lambda trial: {"lr": lr_search_optuna.suggest_lr(trial, prior)}`.
        metric: the entry of a result that is the objective.
        time_attr: the entry that says how far the trial has come, a whole number; the pruner compares trials that have come equally far.

    Raises:
        InvalidInputError: the study has several objectives, or the space cannot be searched.

    >>> from ray import tune
    >>> study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    >>> searcher = StudySearcher(study, {"lr": tune.loguniform(1e-4, 1.0), "width": 64}, metric="loss")
    >>> config = searcher.suggest("trial_1")
    >>> 1e-4 <= config["lr"] <= 1.0, config["width"]
    (True, 64)
    >>> searcher.on_trial_complete("trial_1", {"loss": 0.5})
    >>> study.best_value
    0.5
    """

    def __init__(
        self, study: optuna.Study, space: Space, *, metric: str, time_attr: str = "training_iteration"
    ) -> None:
        require(len(study.directions) == 1, "the study must have one objective", got=len(study.directions))
        super().__init__()
        self.study: optuna.Study | None = study
        self._space = space if callable(space) else _distributions(space)
        self._metric_name, self._time_attr = metric, time_attr
        self._trials: dict[str, optuna.Trial] = {}
        self._reported: dict[str, set[int]] = {}
        self._cut: set[str] = set()

    def __enter__(self) -> StudySearcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The config of the next trial."""
        trial = self._known_study().ask()
        trial.set_user_attr(TRIAL_ATTRIBUTE, trial_id)
        self._trials[trial_id] = trial
        if callable(self._space):
            return dict(self._space(trial))
        return {
            name: trial._suggest(name, entry) if isinstance(entry, optuna.distributions.BaseDistribution) else entry
            for name, entry in self._space.items()
        }

    def heard(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Report to the study. Returns: whether its pruner cuts the trial."""
        trial = self._trials.get(trial_id)
        if trial is None or self._metric_name not in result:
            return False
        step = int(result[self._time_attr])
        reported = self._reported.setdefault(trial_id, set())
        if step in reported:  # comes again, after a worker was lost
            return False
        reported.add(step)
        trial.report(reckonable(float(result[self._metric_name]), trial.study.direction), step)
        if trial.should_prune():
            self._cut.add(trial_id)
        return trial_id in self._cut

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record in the study how a trial has ended."""
        trial = self._trials.pop(trial_id, None)
        self._reported.pop(trial_id, None)
        if trial is None:
            return
        study = self._known_study()
        if trial_id in self._cut:
            self._cut.discard(trial_id)
            study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        elif error or not result or self._metric_name not in result:
            study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        else:
            value = float(result[self._metric_name])
            worst = -math.inf if study.direction == optuna.study.StudyDirection.MAXIMIZE else math.inf
            study.tell(trial, worst if math.isnan(value) else value, skip_if_finished=True)

    def close(self) -> None:
        """Tell the study FAIL for every trial that Tune has left: after a Ctrl-C, or at the end of its time budget."""
        for trial_id in list(self._trials):
            self.on_trial_complete(trial_id, error=True)

    def _known_study(self) -> optuna.Study:
        if self.study is None:
            raise InvalidInputError(
                "A StudySearcher must have its study, but this one was restored, and the study was kept in memory alone. "
                "Give the study a storage, such as sqlite:///study.db."
            )
        return self.study

    def __getstate__(self) -> dict[str, Any]:
        """Without the study: Tune pickles its searcher, and a copy of a study that is kept in memory would be another."""
        state = {**self.__dict__, "study": None, "_trials": {}, "_reported": {}, "_cut": set()}
        study = self.study
        if study is not None and not isinstance(study._storage, InMemoryStorage):
            state["_origin"] = (study.study_name, study._storage, study.sampler, study.pruner)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        origin = state.pop("_origin", None)
        self.__dict__.update(state)
        if origin is None:
            return
        name, storage, sampler, pruner = origin
        self.study = optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial_id = frozen.user_attrs.get(TRIAL_ATTRIBUTE)
            if trial_id is not None:
                self._trials[trial_id] = optuna.Trial(self.study, frozen._trial_id)
                self._reported[trial_id] = set(frozen.intermediate_values)

    def __deepcopy__(self, memo: Any) -> StudySearcher:
        return self  # Tune copies its settings; there is one search


def _distributions(space: Mapping[str, Any]) -> dict[str, Any]:
    """Tune's domains as Optuna's distributions; constants as they are."""
    plain = {name: entry for name, entry in space.items() if isinstance(entry, optuna.distributions.BaseDistribution)}
    domains = {name: entry for name, entry in space.items() if name not in plain}
    try:
        converted = OptunaSearch.convert_search_space(dict(domains))
    except ValueError as error:
        raise InvalidInputError(
            f"The space must be of domains that Optuna knows, but: {error} "
            "Use tune.uniform, loguniform, randint, lograndint, choice and their q-forms, or a function of the Optuna trial."
        ) from error
    return {name: plain.get(name, converted.get(name, entry)) for name, entry in space.items()}
