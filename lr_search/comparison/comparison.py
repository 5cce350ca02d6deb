"""Comparison: what a comparison found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lr_search.errors import InvalidInputError, require
from lr_search.kinds.checked import checked
from lr_search.results.findings import Findings
from lr_search.results.recommendation import Recommendation, recommend
from lr_search.storage.garbage_collection import garbage_collection_paused
from lr_search.storage.open import StorageLike, open_storage, quiet_optuna, storage_errors
from lr_search.storage.reading import read_records
from lr_search.storage.records import StudyRecord

if TYPE_CHECKING:  # a comparison is read and reported without torch
    from lr_search.comparison.question import Question
    from lr_search.executors.executor import Executor
    from lr_search.training.training import Training

_COLUMNS = 80  # of a terminal, for `print`
Read = Callable[[], Sequence[StudyRecord]]


@checked
class Comparison(Findings):
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
        super().__init__(name, self._read_studies)
        self.storage, self._asked, self._read = storage, asked, read

    def _read_studies(self) -> Sequence[StudyRecord]:
        with quiet_optuna(), storage_errors():
            return read_records(open_storage(self.storage), self.name) if self._read is None else self._read()

    def __repr__(self) -> str:
        return f"Comparison({self.name!r}, {sum(len(study.trials) for study in self.searches)} trials)"

    def __str__(self) -> str:
        """The whole answer in 80 columns."""
        from lr_search.report.terminal import as_text

        return as_text(self, _COLUMNS)

    def _repr_html_(self) -> str:
        from lr_search.report.notebook import comparison_html

        return comparison_html(self)

    def reload(self) -> Comparison:
        """The same comparison, read again."""
        return Comparison(self.storage, self.name, self._asked, self._read)

    def recommend(self) -> Recommendation:
        """What to train with, how sure that is, and the code for it.

        Raises:
            LRSearchError: no trial is complete, or all diverged; the message says what to do.
        """
        return self.recommendation or recommend(self.records)

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
        from lr_search.executors.executor import Executor
        from lr_search.executors.local import LocalExecutor

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
        with garbage_collection_paused():
            from lr_search.report.page import save_report

            return save_report(self, Path(directory))

    def to_parquet(self, directory: str | Path) -> Path:
        """Write trials, evaluations, curves and summary as Parquet files, and all that `read` needs to get the comparison back.

        Returns:
            The folder.

        Raises:
            MissingPackageError: PyArrow is not installed.
            OutputError: the folder cannot be written to.
        """
        from lr_search.results.parquet import write_parquet

        return write_parquet(self, Path(directory))

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
