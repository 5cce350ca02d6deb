"""Progress: bars of trials and steps with the time left on a terminal; elsewhere now and then a line of the logger `lr_search`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from lr_search.executors.display.progress_log import ProgressLog
from lr_search.executors.display.study_lines import StudyLines
from lr_search.executors.display.tally import Overview, steps_spared
from lr_search.executors.display.time_left import TimeLeft
from lr_search.studies.job import Job
from lr_search.studies.study import StudyTask
from lr_search.studies.trial import Outcome

TRIALS_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt}{postfix}"
STEPS_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]"
SMOOTHING = 0.05  # evaluations come at odd moments: the pace that is shown follows the last 40 or so


class Progress:
    """What is shown of a comparison's trials. An executor reports to it what becomes of them.

    On a terminal two bars, trials and steps. Elsewhere a line for each study that is complete, and one on all of them at most
    once a minute.

    Args:
        trials: how many there are to run.
        steps: how many there are to take.
        name: of the comparison, which is left out of the studies' names.
        shown: False for nothing at all.
        clock: seconds.
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
        self._trials = tqdm(
            total=trials,
            desc="trials",
            unit="trial",
            disable=quiet,
            position=0,
            dynamic_ncols=True,
            bar_format=TRIALS_BAR,
        )
        self._steps = tqdm(
            total=steps, desc="steps ", unit="step", unit_scale=True, disable=quiet, position=1, dynamic_ncols=True,
            miniters=1, smoothing=SMOOTHING, bar_format=STEPS_BAR,
        )  # fmt: skip
        self._name, self._shown = name, shown
        self._furthest: dict[tuple[str, int], int] = {}  # study and number of a trial -> steps counted of it
        self._ended, self._planned = 0, trials
        self._time_left = TimeLeft(steps, clock)
        self._overview = Overview()
        self._busy: Callable[[int], str] | None = None  # trials that run -> what they take up
        self._lines: StudyLines | None = None
        self._log = ProgressLog(clock) if shown and self._trials.disable else None

    @property
    def seconds_left(self) -> float | None:
        """Until the last trial's end, by the pace of late; None before the first steps are reported."""
        return self._time_left.seconds()

    def plan(self, trials: int, steps: int) -> None:
        """So many trials and steps are left, whatever was planned before."""
        self._planned = self._ended + trials
        self._time_left.plan(steps)

    def follow(self, tasks: Sequence[StudyTask], *, unit: str, total: float, per_trial: float) -> None:
        """Show trials that run side by side; called by an executor of such before the first begins.

        On a terminal each study that is under way gets a line of its own.

        Args:
            tasks: the studies.
            unit: of what a trial takes up: GPU, CPU.
            total: how many of them there are.
            per_trial: how many a trial takes up; may be a fraction.
        """
        if not self._shown:
            return
        self._busy = lambda running: f"{unit}s busy {running * per_trial:g}/{total:g}"
        if self._lines is not None:
            self._lines.close()
        if not self._trials.disable:
            self._lines = StudyLines(self._trials, max((len(self._label(task)) for task in tasks), default=0))

    def begin(self, job: Job) -> None:
        """A trial begins, or goes on after it was put back."""
        if self._shown:
            self._overview.begin(job, self._label(job.task))
            self._draw(job)

    def evaluated(self, job: Job, step: int) -> None:
        """A trial has come so far; steps that it takes again count once."""
        if self._shown:
            self._advance(job, step)
            self._draw(job)

    def end(self, job: Job, outcome: Outcome) -> None:
        """A trial is over."""
        if not self._shown:
            return
        self._advance(job, outcome.steps)
        self._time_left.spared(steps_spared(job, outcome))
        complete = self._overview.end(job, outcome)
        self._ended += 1
        if complete is not None:
            self._time_left.spared(complete.unspent())
            if self._log is not None:
                self._log.completed(complete)
        self._draw(job)

    def put_back(self, job: Job) -> None:
        """A trial does not run any more, and may begin again later."""
        if self._shown:
            self._overview.put_back(job)
            self._draw(job)

    def close(self) -> None:
        """Take the studies' lines away; the bars stay as they are."""
        if self._lines is not None:
            self._lines.close()
        self._trials.set_postfix_str(", ".join(self._overview.outcomes()), refresh=False)
        self._trials.close()
        self._steps.close()

    def _advance(self, job: Job, step: int) -> None:
        trial = job.task.plan.name, job.number
        taken = step - self._furthest.get(trial, 0)
        if taken > 0:
            self._furthest[trial] = step
            self._time_left.took(taken)

    def _draw(self, job: Job) -> None:
        if self._log is not None:
            self._log.stand(self._stand)
            return
        trials, steps, standing = self._trials, self._steps, self._time_left
        steps.total = standing.planned
        steps.set_postfix_str(f"{_interval(standing.seconds())} left", refresh=False)
        steps.update(standing.taken - steps.n)
        text = self._label(job.task) if self._lines is None else self._running()
        changed = (trials.n, trials.postfix) != (self._ended, text)
        trials.n, trials.total = self._ended, self._trials_in_all()
        if changed:
            trials.set_postfix_str(text)
        if self._lines is not None:
            self._lines.draw(self._overview.open.values())

    def _stand(self) -> str:
        """Where all stand: `35/140 trials, 10,493/41,668 steps (1.12k steps/s, 00:28 left), best loss 0.074 at LR 0.02 (...), ...`."""
        standing = self._time_left
        pace = "" if (pace := standing.pace()) is None else f"{tqdm.format_sizeof(pace)} steps/s, "
        parts = [
            f"{self._ended:,}/{self._trials_in_all():,} trials",
            f"{standing.taken:,}/{standing.planned:,} steps ({pace}{_interval(standing.seconds())} left)",
        ]
        if self._overview.best is not None:
            best, label = self._overview.best
            parts.append(f"{best.text()} ({label})")
        return ", ".join([*parts, self._running()])

    def _running(self) -> str:
        """What runs: `4 running, 3 pruned, 1 failed, GPUs busy 3.5/4`."""
        running = self._overview.running
        busy = [] if self._busy is None else [self._busy(running)]
        return ", ".join([f"{running} running", *self._overview.outcomes(), *busy])

    def _trials_in_all(self) -> int:
        """Pruned trials leave steps for more than were planned."""
        return max(self._planned, self._ended + self._overview.running)

    def _label(self, task: StudyTask) -> str:
        return task.plan.name.removeprefix(f"{self._name}/")


def _interval(seconds: float | None) -> str:
    return "?" if seconds is None else tqdm.format_interval(seconds)
