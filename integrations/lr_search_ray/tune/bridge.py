"""Between Ray Tune's loop and Optuna's studies: a searcher that proposes, and a scheduler that stops what a pruner cuts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from lr_search.kinds.checked import checked

if TYPE_CHECKING:
    from ray.tune.experiment import Trial


@checked
class BridgeSearcher(Searcher):
    """A searcher whose trials an `OptunaPruningScheduler` may cut. All of it runs in the driver, in Tune's one loop.

    Tune calls `on_trial_result` of a searcher only for results that stop nothing; so reports go through the scheduler.
    """

    @abstractmethod
    def heard(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Take note of a result that is not the last. Returns: whether to stop the trial here."""

    def answered(self, trial: Trial) -> None:
        """The trial that it heard of last goes on: the last moment to tell the worker something before Tune does."""

    def seen(self, trial: Trial) -> None:
        """A trial has ended, or failed; comes before `on_trial_complete`."""

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing to do: the scheduler has passed the result on before."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: what is known lies in the study's storage."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: what is known lies in the study's storage."""


@checked
class OptunaPruningScheduler(FIFOScheduler):
    """Runs Tune's trials in the order of their suggestions, and stops those that the study's Optuna pruner cuts.

    Args:
        searcher: where the trials come from; it asks the pruner, and tells the study PRUNED.

    >>> import optuna
    >>> from lr_search import LRPrior
    >>> from lr_search_ray import StudySearcher, search_space
    >>> study = optuna.create_study(pruner=optuna.pruners.MedianPruner())
    >>> searcher = StudySearcher(study, search_space(LRPrior.around(1e-3)), metric="loss", time_attr="step")
    >>> scheduler = OptunaPruningScheduler(searcher)  # TuneConfig(search_alg=searcher, scheduler=scheduler)
    """

    def __init__(self, searcher: BridgeSearcher) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Stops the trial where the pruner says so."""
        stop = self._searcher.heard(trial.trial_id, result)
        if not stop:
            self._searcher.answered(trial)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Passes the trial to the searcher, whose `on_trial_complete` Tune calls next."""
        self._searcher.seen(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Passes a failed trial to the searcher; also before Tune tries it again, of which the searcher hears nowhere else."""
        self._searcher.seen(trial)
