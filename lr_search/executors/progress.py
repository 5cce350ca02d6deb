"""Progress bars: trials and steps, with the time left; where nobody looks at a terminal, silence or now and then a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from lr_search.executors.progress_lines import Bar, Log, StudyLines
from lr_search.executors.tally import Overview
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome

SMOOTHING = 0.05  # evaluations come at odd moments: the time left follows the last 40 or so
SEVERAL = "{l_bar}{bar}| {n_fmt}/{total_fmt}{postfix}"  # the pace stands on the other bar


class Progress:
    """Two bars on standard error: trials, and steps. An executor reports to it what becomes of the trials.

    Args:
        trials: how many there are to run.
        steps: how many there are to take.
        name: of the comparison, which is left out of the studies' names.
        shown: False for no bars; by default they show on a terminal only.
        clock: seconds; for the lines in a log.
    """

    def __init__(
        self,
        trials: int,
        steps: int,
        *,
        name: str = "",
        shown: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        quiet = None if shown else True  # None: tqdm looks whether it is a terminal
        self._trials = tqdm(total=trials, desc="trials", unit="trial", disable=quiet, position=0, dynamic_ncols=True)
        self._steps = tqdm(
            total=steps, desc="steps ", unit="step", unit_scale=True, disable=quiet, position=1, dynamic_ncols=True,
            miniters=1, smoothing=SMOOTHING,
        )  # fmt: skip
        self._planned = trials, steps
        self._name, self._shown, self._clock = name, shown, clock
        self._furthest: dict[tuple[str, int], int] = {}  # study and number of a trial -> steps counted of it
        self._overview: Overview | None = None
        self._lines: StudyLines | None = None
        self._log: Log | None = None

    def follow(self, tasks: Sequence[StudyTask], *, unit: str, total: float, per_trial: float) -> None:
        """Show trials that run side by side; called by an executor of such before the first begins.

        On a terminal each study that is under way gets a line of its own. Elsewhere a line is printed for each study that is
        complete, and one on all of them at most once a minute.

        Args:
            tasks: the studies.
            unit: of what a trial takes up: GPU, CPU.
            total: how many of them there are.
            per_trial: how many a trial takes up; may be a fraction.
        """
        if not self._shown:
            return
        self._overview = Overview(unit, total, per_trial)
        if self._trials.disable:
            self._log = Log(*self._planned, self._clock)
        else:
            self._trials.bar_format = SEVERAL
            self._lines = StudyLines(self._trials, max((len(self._label(task)) for task in tasks), default=0))

    def begin(self, job: Job) -> None:
        """A trial begins, or goes on after it was put back."""
        if self._overview is None:
            self._trials.set_postfix_str(self._label(job.task))
            return
        self._overview.begin(job, self._label(job.task))
        self._draw()

    def evaluated(self, job: Job, step: int) -> None:
        """A trial has come so far; steps that it takes again count once."""
        trial = job.task.plan.name, job.number
        taken = step - self._furthest.get(trial, 0)
        if taken > 0:
            self._furthest[trial] = step
            _advance(self._steps, taken)
        if self._log is not None and self._overview is not None:
            self._log.stepped(max(0, taken))
            self._log.draw(self._overview)

    def end(self, job: Job, outcome: Outcome) -> None:
        """A trial is over."""
        self.evaluated(job, outcome.steps)
        if self._overview is None:
            _advance(self._trials, 1)
            return
        complete = self._overview.end(job, outcome)
        self._trials.n += 1
        if complete is not None and self._log is not None:
            self._log.completed(complete)
        self._draw()

    def put_back(self, job: Job) -> None:
        """A trial does not run any more, and may begin again later."""
        if self._overview is not None:
            self._overview.put_back(job)
            self._draw()

    def close(self) -> None:
        """Take the studies' lines away; the bars stay as they are."""
        if self._lines is not None and self._overview is not None:
            self._lines.close()
            self._trials.set_postfix_str(", ".join(self._overview.outcomes()), refresh=False)
        self._trials.close()
        self._steps.close()

    def _draw(self) -> None:
        assert self._overview is not None
        if self._log is not None:
            self._log.draw(self._overview)
        if self._lines is not None:
            _make_room(self._trials, self._overview.running)
            self._trials.set_postfix_str(self._overview.text())
            self._lines.draw(self._overview.open.values())

    def _label(self, task: StudyTask) -> str:
        return task.plan.name.removeprefix(f"{self._name}/")


def _advance(bar: Bar, count: int) -> None:
    _make_room(bar, count)
    bar.update(count)


def _make_room(bar: Bar, count: int) -> None:
    """For so many more: pruned trials leave steps for more trials than were planned."""
    bar.total = max(bar.total or 0, bar.n + count)
