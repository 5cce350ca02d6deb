"""A trial as Ray Tune trains it on a worker: one `step` of Tune's is one evaluation, or the way to a checkpoint."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from lr_search.executors.solo_runs import run_of
from lr_search.executors.time_limits.limits import TimeLimits
from lr_search.executors.trial_run import SoloRun
from lr_search.rng import seed_everything
from lr_search.studies.trial import TrialSpec
from lr_search.training.evaluation import Evaluation
from lr_search.workloads.subject import Subject

STATE = "training.pt"  # the file of a checkpoint


class TrialTrainable(tune.Trainable):
    """Runs `train()` as it is, so that a trial gives the same value here as in the user's own process.

    A subclass says what a configuration stands for, and which results Tune gets.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        checkpoint_every: int | None = None,
        checkpoint_seconds: float = 30.0,
        trial_seconds: float | None = None,
    ) -> None:
        """Called once an actor; `reset_config` for each trial after the first."""
        self._limits = TimeLimits(trial_seconds=trial_seconds)
        self._every, self._seconds = checkpoint_every, checkpoint_seconds
        self._run: SoloRun | None = None
        self._frozen = False
        use_assigned_device()
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another trial on the same actor, which shall find it as it was new."""
        self.cleanup()
        self._start(new_config)
        return True

    def _start(self, config: Mapping[str, Any]) -> None:
        workload, spec = self._trial(config)
        seed_everything(spec.seed)
        self._run = run_of(workload, spec, self._limits)
        self._spec, self._saved_at = spec, time.monotonic()

    @abstractmethod
    def _trial(self, config: Mapping[str, Any]) -> tuple[Subject, TrialSpec]:
        """What a configuration stands for."""

    @abstractmethod
    def _result(self, run: SoloRun, evaluation: Evaluation | None) -> dict[str, Any]:
        """The result that Tune gets: of an evaluation, or of the way to one."""

    def step(self) -> dict[str, Any]:
        """Train on to the next evaluation; or only to the next checkpoint, if that comes before."""
        run = self._run
        assert run is not None
        save_at = self._next_save(run)
        if save_at is not None:
            run.advance(save_at)
            evaluation = None
        else:
            evaluation = next(run, None)
        result = {**self._result(run, evaluation), "step": run.step, "seconds": run.outcome.seconds, "done": run.over}
        if not run.over and (save_at is not None or self._save_now(run)):
            result[SHOULD_CHECKPOINT] = True
        return result

    def _next_save(self, run: SoloRun) -> int | None:
        """The next multiple of `checkpoint_every`, where that comes before the next evaluation."""
        if self._every is None or run.over:
            return None
        evaluation, save_at = run.next_evaluation(), (run.step // self._every + 1) * self._every
        return save_at if evaluation is not None and save_at < evaluation else None

    def _save_now(self, run: SoloRun) -> bool:
        """At an evaluation (for a cyclic schedule: a cycle's end): if enough has passed that it would be missed."""
        if not run.has_state:
            return False
        if self._every is not None and run.step % self._every == 0:
            return True
        return time.monotonic() - self._saved_at >= self._seconds

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The training's whole state."""
        assert self._run is not None
        torch.save(self._run.state_dict(), Path(checkpoint_dir, STATE))
        self._saved_at = time.monotonic()

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from a checkpoint; the position in the data is found by replaying."""
        assert self._run is not None
        state = torch.load(Path(checkpoint, STATE), map_location="cpu", weights_only=True)
        self._run.load_state_dict(state)

    def cleanup(self) -> None:
        """Let go of the trial, and of what it holds on the device."""
        if self._run is not None:
            self._run.close()
        self._run = None
        gc.collect()
        if (
            not self._frozen
        ):  # the modules, all loaded now: to go through them after each trial would take a quarter of a second
            gc.freeze()
            self._frozen = True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def use_assigned_device() -> None:
    """Train where Ray says: without a GPU of its own on the CPU, with as many threads as it was given CPUs."""
    context = ray.get_runtime_context()
    if context.worker.mode != ray.WORKER_MODE:  # tried out in the user's own process
        return
    if not context.get_accelerator_ids().get("GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    cpus = context.get_assigned_resources().get("CPU", 0)
    with contextlib.suppress(RuntimeError):
        torch.set_num_threads(max(1, int(cpus)))
