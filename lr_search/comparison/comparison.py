"""Comparison: what a comparison found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lr_search.comparison.question import Question
from lr_search.errors import InvalidInputError, require
from lr_search.executors.executor import Executor
from lr_search.executors.local import LocalExecutor
from lr_search.storage.open import StorageLike, losses_told, open_storage, quiet_optuna
from lr_search.storage.reading import read_records
from lr_search.storage.records import StudyRecord

if TYPE_CHECKING:
    import pandas as pd

    from lr_search.results.findings import Findings
    from lr_search.results.recommendation import Recommendation
    from lr_search.training.training import Training

Read = Callable[[], Sequence[StudyRecord]]


class Comparison:
    """What a comparison found; read from its storage once, which other processes may still be writing to.

    Args:
        storage: a database URL or an Optuna storage.
        name: of the comparison.
        asked: what `compare` was asked; None where it was only loaded.
        read: reads the studies, in place of reading those of that name from the storage.
    """

    def __init__(
        self, storage: StorageLike, name: str, asked: Question | None = None, read: Read | None = None
    ) -> None:
        self.storage, self.name, self._asked, self._read = storage, name, asked, read

    def __repr__(self) -> str:
        return f"Comparison({self.name!r}, {sum(len(study.trials) for study in self.findings.searches)} trials)"

    def _repr_html_(self) -> str:
        from lr_search.report.notebook import comparison_html

        return comparison_html(self.findings)

    @property
    def records(self) -> list[StudyRecord]:
        """The studies, as they were in the storage."""
        return self.findings.records

    @cached_property
    def findings(self) -> Findings:
        """Everything that is found in the studies, each part when it is asked for first."""
        from lr_search.results.findings import Findings

        with quiet_optuna(), losses_told():
            found = read_records(open_storage(self.storage), self.name) if self._read is None else self._read()
        return Findings(self.name, found)

    def reload(self) -> Comparison:
        """The same comparison, read again."""
        return Comparison(self.storage, self.name, self._asked, self._read)

    @property
    def trials(self) -> pd.DataFrame:
        """A row a trial, in the order of studies and trial numbers; see `lr_search.results.tables.trials_frame`."""
        return self.findings.trials

    @property
    def evaluations(self) -> pd.DataFrame:
        """A row for each evaluation of a trial and each metric; see `lr_search.results.tables.evaluations_frame`."""
        return self.findings.evaluations

    @property
    def curves(self) -> pd.DataFrame:
        """A row a step of a range test: comparison, optimizer, seed, curve, step, lr, loss, smoothed, slope, ..."""
        return self.findings.curves

    @property
    def confirmations(self) -> pd.DataFrame:
        """A row a training that `confirm=` added, on fresh seeds; the columns of `trials`."""
        return self.findings.confirmations

    def summary(self) -> pd.DataFrame:
        """A row for each strategy x schedule x optimizer, best first; see `lr_search.results.summary.summary_frame`."""
        return self.findings.summary

    def anytime(self) -> pd.DataFrame:
        """The best so far against steps spent, a row a finished trial; see `lr_search.results.anytime.anytime_frame`."""
        return self.findings.anytime

    def pairwise(self, to: Mapping[str, str] | None = None) -> pd.DataFrame:
        """How much worse each way of searching is than the best, paired over seeds; see `lr_search.results.pairwise.pairwise_frame`.

        Args:
            to: another reference, such as {"strategy": "random"}.
        """
        return self.findings.pairwise(to)

    def basins(self) -> pd.DataFrame:
        """How the objective depends on the LR under each schedule; see `lr_search.results.candidates.basins_frame`."""
        return self.findings.basins

    def costs(self) -> pd.DataFrame:
        """Where the steps of each way of searching went; see `lr_search.results.costs.costs_frame`."""
        return self.findings.costs

    def recommend(self) -> Recommendation:
        """What to train with, how sure that is, and the code for it.

        Raises:
            LRSearchError: no trial is complete, or all diverged; the message says what to do.
        """
        from lr_search.results.recommendation import recommend

        return self.findings.recommendation or recommend(self.records)

    def retrain(self, best: Any = None, *, executor: Executor | None = None) -> Training:
        """Train a trial again for its weights, which no trial keeps: same seed, on a CPU with as many threads the same bits.

        Args:
            best: a row of `trials`, such as `comparison.trials.iloc[3]`; a `Recommendation`, which is trained with the first seed; or
                None: the trial with the best objective.
            executor: where; default: in this process.

        Returns:
            The training at its end: `.model`, `.snapshots` (of a cyclic schedule's last cycle ends), `.evaluate()`.

        Raises:
            InvalidInputError: there is no such trial, or the comparison was loaded, so that what it trains is not known.
        """
        from lr_search.comparison.retraining import to_retrain

        if self._asked is None:
            raise InvalidInputError(
                "retrain() needs what is trained, but this comparison was loaded from its storage. "
                "Call compare(...) as before: what is finished is not trained again, and its result can retrain."
            )
        runner = LocalExecutor() if executor is None else executor
        can = isinstance(runner, Executor)
        require(can, "executor must be one that can train, such as lrs.LocalExecutor()", executor=executor)
        return runner.train(*to_retrain(self._asked, self.records, best))

    def save(self, directory: str | Path) -> Path:
        """Write report.html, trials.csv, summary.csv, summary.md and the figures as PNG. Returns: the page's path.

        Raises:
            OutputError: the folder cannot be written to.
        """
        from lr_search.report.page import save_report

        return save_report(self.findings, Path(directory))

    def to_parquet(self, directory: str | Path) -> Path:
        """Write trials, evaluations, curves and summary as Parquet files, and all that `read` needs to get the comparison back.

        Returns:
            The folder.

        Raises:
            MissingPackageError: PyArrow is not installed.
            OutputError: the folder cannot be written to.
        """
        from lr_search.results.parquet import write_parquet

        return write_parquet(self.findings, Path(directory))

    @classmethod
    def read(cls, directory: str | Path) -> Comparison:
        """The comparison that `to_parquet` wrote; so does `lrs.load(directory)`.

        Raises:
            MissingPackageError: PyArrow is not installed.
            StorageError: there is no such folder, or none that `to_parquet` wrote.
        """
        from lr_search.comparison.loading import load

        return load(Path(directory))

    def to_tensorboard(self, directory: str | Path) -> Path:
        """Write the trials for TensorBoard, a run each: losses, LR and metrics against steps, and what was searched.

        Returns:
            The folder, for `tensorboard --logdir`.

        Raises:
            MissingPackageError: TensorBoard is not installed.
            OutputError: the folder cannot be written to.
        """
        from lr_search.report.to_tensorboard import write_tensorboard

        return write_tensorboard(self.trials, self.evaluations, directory)

    def to_mlflow(self, *, tracking_uri: str | None = None, experiment: str | None = None) -> str:
        """Log the trials to MLflow, a run each; those that are there already are not logged twice.

        Args:
            tracking_uri: of the server or store; default: MLflow's own setting.
            experiment: its name; default: the comparison's.

        Returns:
            The experiment's id.

        Raises:
            MissingPackageError: MLflow is not installed.
            LRSearchError: the server does not answer.
        """
        from lr_search.report.to_mlflow import log_to_mlflow

        return log_to_mlflow(
            self.trials, self.evaluations, tracking_uri=tracking_uri, experiment=experiment or self.name
        )
