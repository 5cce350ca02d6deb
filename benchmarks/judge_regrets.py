"""What every learning rate loses, as a truth file has it: benchmarks/regret_fit.json, benchmarks/regret_judge.json, benchmarks/truth.json.

regret(lr) = 1 - drop(lr) / best drop,   drop = mean over seeds of max(0, loss untrained - loss trained), 0 where the training diverged

Between two LRs of the grid it is linear in log LR. Beyond them nothing was trained, and it is no less than what follows from it: above
the highest LR it is 1; below the lowest the drop shrinks in proportion to the LR (the loss falls ever slower, so that a share of the way
is worth more than that share of the drop). A best LR at the grid's end is censored: it is only known to lie there or beyond.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

WITHIN = 0.05  # the regret of an LR that is about as good as the best


class JudgeError(Exception):
    """What was asked for cannot be judged; the message says why, and what to do."""


@dataclass(frozen=True)
class RegretCurve:
    """One task under one schedule of one length, at every LR that was trained.

    Args:
        task: its name.
        schedule: the schedule's name; its LR is the peak.
        num_steps: in a training.
        length: as it is printed; the trainings of one length are judged together.
        places: log10 of the LRs, rising, (lrs,).
        losses: final validation losses, (lrs, seeds): inf where a training diverged, nan where there was none.
        initial: the validation loss untrained, (seeds,).
    """

    task: str
    schedule: str
    num_steps: int
    length: str
    places: np.ndarray
    losses: np.ndarray
    initial: np.ndarray

    @cached_property
    def drops(self) -> np.ndarray:
        """The mean drop of the loss at each LR over all seeds, (lrs,).

        Not all LRs were trained with all seeds. Among those of at least half the best drop where nothing diverged a seed is taken to be
        as lucky at one LR as at another (least squares, an effect of the LR and one of the seed); elsewhere it is the mean of what was
        trained.
        """
        fell = np.where(np.isinf(self.losses), 0.0, np.maximum(0.0, self.initial - self.losses))
        means = np.asarray(np.nanmean(fell, axis=1))
        good = (means >= means.max() / 2) & ~np.isinf(self.losses).any(axis=1)
        if good.any():
            means[good] = np.maximum(0.0, row_effects(fell[good]))
        return means

    @cached_property
    def regrets(self) -> np.ndarray:
        """(lrs,)."""
        return np.asarray(1 - self.drops / self.drops.max())

    @cached_property
    def best(self) -> float | None:
        """log10 of the best LR; None where it is censored."""
        place = int(np.argmax(self.drops))
        return float(self.places[place]) if 0 < place < len(self.places) - 1 else None

    def regret(self, place: float) -> float:
        """The regret at a log10 LR."""
        if place > self.places[-1]:
            return 1.0
        if place < self.places[0]:
            return float(1 - (1 - self.regrets[0]) * 10 ** (place - self.places[0]))
        return float(np.interp(place, self.places, self.regrets))

    def outside(self, place: float) -> bool:
        """Whether nothing as high, or as low, was trained."""
        return not self.places[0] <= place <= self.places[-1]

    def regrets_within(self, low: float, high: float) -> tuple[float, float]:
        """The least and the largest regret of an interval of log10 LRs: at its ends, or at an LR of the grid between them."""
        inside = self.regrets[(self.places >= low) & (self.places <= high)].tolist()
        found = [self.regret(low), self.regret(high), *inside]
        return min(found), max(found)

    def seed_losses(self, seed: int) -> np.ndarray:
        """The final loss of a seed at each LR, (lrs,): its own where it was trained; otherwise as another seed may have had it.

        That is inf as often as the trainings at this LR diverged, or the mean of the others there with a residual drawn from
        all LRs of a regret below 1/2. Residuals are drawn for each LR by itself, though a seed's go together: searches look a little
        noisier than they are.
        """
        rng = np.random.default_rng(zlib.crc32(f"{self.task} {self.schedule} {self.length} {seed}".encode()))
        found = np.empty(len(self.places))
        for number, known in enumerate(self.losses):
            trained = known[~np.isnan(known)]
            drawn, residual = rng.choice(trained), rng.choice(self._residuals)
            own = known[seed] if seed < len(known) else np.nan
            other = drawn if np.isinf(drawn) else trained[np.isfinite(trained)].mean() + residual
            found[number] = other if np.isnan(own) else own
        return found

    @cached_property
    def _residuals(self) -> np.ndarray:
        """How far single seeds lie from the mean of theirs, as far as one seed of very many would; 0 where no LR has two."""
        found = [0.0]
        for known, regret in zip(self.losses, self.regrets, strict=True):
            trained = known[np.isfinite(known)]
            if len(trained) > 1 and regret < 0.5:
                found += ((trained - trained.mean()) * np.sqrt(len(trained) / (len(trained) - 1))).tolist()
        return np.array(found[1:] or found)

    def looked_up(self, losses: np.ndarray, place: float) -> float:
        """A seed's final loss at a log10 LR, linear between the neighbours' on the grid; beside one that diverged, the nearer one's.

        Args:
            losses: what `seed_losses` gave.
            place: above the grid every training diverges; below it the drop shrinks in proportion to the LR.
        """
        if place > self.places[-1]:
            return np.inf
        if place < self.places[0]:
            start = float(self.initial.mean())
            return float(start - (start - losses[0]) * 10 ** (place - self.places[0]))
        above = int(np.clip(np.searchsorted(self.places, place), 1, len(self.places) - 1))
        share = float((place - self.places[above - 1]) / (self.places[above] - self.places[above - 1]))
        low, high = losses[above - 1], losses[above]
        if np.isfinite(low) and np.isfinite(high):
            return float((1 - share) * low + share * high)
        return float(low if share < 0.5 else high)


def row_effects(table: np.ndarray) -> np.ndarray:
    """The row means of a table with gaps, as if nothing were missing: value = row + column, by least squares. Args: table: nan: missing."""
    table = table[:, ~np.isnan(table).all(axis=0)]
    rows, columns = np.nonzero(~np.isnan(table))
    count, width = table.shape
    design = np.zeros((len(rows) + 1, count + width))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), count + columns] = 1
    design[-1, count:] = 1  # the columns' effects add up to 0
    found, *_ = np.linalg.lstsq(design, np.append(table[rows, columns], 0.0), rcond=None)
    return np.asarray(found[:count])


def read_truth(path: Path, command: str) -> dict[str, dict[str, Any]]:
    """What a truth file holds: task -> entry. Args: command: makes it. Raises: JudgeError: it is not there, or no such file."""
    if not path.exists():
        raise JudgeError(f"A truth file must be there to judge by, but {path.name} is not: {command}")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise JudgeError(f"{path.name} must be JSON, but it is not ({error}): {command}") from error
    if not isinstance(found, dict):
        raise JudgeError(f"{path.name} must hold an entry for each task, but holds a {type(found).__name__}: {command}")
    return found


def regret_curves(path: Path, task: str, entry: Mapping[str, Any], command: str) -> list[RegretCurve]:
    """Every schedule and length of a task. Args: command: measures it again. Raises: JudgeError: the entry is of another form."""
    try:
        return [
            regret_curve(task, schedule, int(length), length, of_lr, entry["initial"])
            for schedule, by_length in entry["losses"].items()
            for length, of_lr in by_length.items()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise JudgeError(
            f"{path.name} must hold initial losses and losses by schedule, length and LR for {task}, but reading them gave {found}: {command}"
        ) from error


def regret_curve(
    task: str, schedule: str, num_steps: int, length: str, of_lr: Mapping[str, list[float | None]], initial: list[float]
) -> RegretCurve:
    """One of them. Raises: ValueError: fewer than two LRs, or an LR of no seed, or of more seeds than have an initial loss."""
    rows = sorted((float(lr), losses) for lr, losses in of_lr.items())
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} LRs for {schedule} of {length} steps")
    table = np.full((len(rows), len(initial)), np.nan)
    for number, (lr, losses) in enumerate(rows):
        if not 1 <= len(losses) <= len(initial):
            raise ValueError(f"{len(losses)} seeds at {lr:g}, but {len(initial)} initial losses")
        table[number, : len(losses)] = [np.inf if loss is None else loss for loss in losses]
    places = np.log10([lr for lr, _ in rows])
    return RegretCurve(task, schedule, num_steps, length, places, table, np.array(initial, dtype=float))
