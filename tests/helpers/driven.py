"""A comparison's searcher without Ray: made-up results in place of workers."""

import tempfile
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from ray.tune import Checkpoint
from ray.tune.search import Searcher

from lr_search.curves.curve import LRCurve
from lr_search.executors.progress import Progress
from lr_search.executors.work import Work
from lr_search.storage.keys import RECORD
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome
from lr_search.training.evaluation import Evaluation
from lr_search_ray.jobs.job_searcher import JobSearcher
from lr_search_ray.jobs.messages import ASSIGNMENT, CHARGED, EVALUATION, OUTCOME, Assignment
from tests.helpers import sharing

CURVE = LRCurve.from_arrays([10 ** (i / 4 - 4) for i in range(20)], [abs(i - 15) / 10 + 0.5 for i in range(20)])
FINISHED = Searcher.FINISHED


class Running(Progress):
    """Knows which trials it was told to be running."""

    def __init__(self) -> None:
        super().__init__(0, 0, shown=False)
        self.running: list[str] = []
        self.ended: list[str] = []

    def begin(self, job: Job) -> None:
        assert job.name not in self.running
        self.running.append(job.name)

    def put_back(self, job: Job) -> None:
        self.running.remove(job.name)

    def end(self, job: Job, outcome: Outcome) -> None:
        self.put_back(job)
        self.ended.append(outcome.ended)


@dataclass
class TuneTrial:
    """What Tune knows of a trial that has ended, or was lost."""

    trial_id: str
    checkpoint: Checkpoint | None
    error_file: str | None


def evaluation(step: int, loss: float) -> Evaluation:
    return Evaluation(step, lr=0.1, train_loss=loss, metrics={"loss": loss}, end_of_cycle=False)


@dataclass
class Tune:
    """Calls the hooks as Tune's loop does."""

    tasks: list[StudyTask]
    at_once: int = 100
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.progress, self.work = Running(), Work(self.tasks)
        self.searcher = JobSearcher(
            self.work, self.progress, lambda: self.at_once, **{"max_failures": 2, **self.options}
        )
        self._count = 0

    def suggest(self) -> Any:
        """Returns: Tune's name of the trial and what its worker gets; or None, or FINISHED."""
        trial_id = f"tune {self._count}"
        got = self.searcher.suggest(trial_id)
        if not isinstance(got, dict):
            return got
        self._count += 1
        return trial_id, got[ASSIGNMENT]

    def start(self) -> tuple[str, Assignment]:
        """A worker takes up what is suggested."""
        trial_id, assignment = self.suggest()
        self.searcher.started(trial_id)
        return trial_id, assignment

    def evaluate(self, trial_id: str, step: int, loss: float) -> bool:
        result = {EVALUATION: evaluation(step, loss), CHARGED: step, "step": step, "seconds": 0.1 * step}
        if step == 0:
            result[OUTCOME] = Outcome(started="noon", device="abacus")
        return self.searcher.heard(trial_id, result)

    def end(self, trial_id: str, outcome: Outcome | None = None, *, loss: float = 1.0) -> None:
        """Its last result: all 30 steps done, or another outcome without evaluation."""
        result: dict[str, Any] = {"seconds": 3.0, "step": 30, CHARGED: 30}
        if outcome is None:
            result |= {OUTCOME: Outcome("finished", steps=30, started="noon"), EVALUATION: evaluation(30, loss)}
        else:
            result |= {OUTCOME: outcome, CHARGED: outcome.steps}
        self.searcher.seen(TuneTrial(trial_id, None, None))  # type: ignore[arg-type]
        self.searcher.on_trial_complete(trial_id, result)

    def fail(self, trial_id: str, reason: str, error: str = "a traceback") -> None:
        self.end(trial_id, Outcome("failed", reason, steps=20, error=error))

    def lose(self, trial_id: str, checkpoint: Checkpoint | None = None, words: str = "The actor died.") -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"Failure # 1 (occurred at noon)\n{words}\n")
            file.flush()
            self.searcher.seen(TuneTrial(trial_id, checkpoint, file.name))  # type: ignore[arg-type]
        self.searcher.on_trial_complete(trial_id, error=True)

    def trials(self, study: int = -1) -> list[FrozenTrial]:
        return self.tasks[study].trials()

    def states(self) -> list[str]:
        return [trial.state.name for task in self.tasks for trial in task.trials()]


class Cuts(optuna.pruners.BasePruner):
    """Whatever is above 1 after step 10."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return (trial.last_step or 0) > 10 and trial.intermediate_values[trial.last_step] > 1  # type: ignore[index]


def searching(at_once: int = 100, options: dict[str, Any] | None = None, **changes: Any) -> Tune:
    """A comparison's searcher: by default one study of a grid of three."""
    one = {"strategies": ["grid"], "schedules": ["constant"], "seeds": 1, "budget": 3}
    return Tune(sharing.tasks(optuna.storages.InMemoryStorage(), **{**one, **changes}), at_once, options or {})


def steps(trial: FrozenTrial) -> list[int]:
    found: list[int] = trial.user_attrs[RECORD]["evaluations"]["step"]
    return found
