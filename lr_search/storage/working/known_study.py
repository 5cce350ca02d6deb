"""What a process remembers of a study's trials."""

from __future__ import annotations

from dataclasses import dataclass, field

from optuna.trial import FrozenTrial


@dataclass
class KnownStudy:
    """What is known of a study.

    Args:
        trials: those that the database holds, by their numbers.
        drafted: those that it does not hold yet.
        last: the highest id among those that the database holds.
        others: the ids of those that have not ended and that this process does not run: they are read again.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    drafted: list[FrozenTrial] = field(default_factory=list)
    last: int = 0
    others: set[int] = field(default_factory=set)

    def seen(self) -> list[FrozenTrial]:
        """All of them, the drafted ones last."""
        return [*self.trials, *self.drafted]

    def place(self, trial_id: int, number: int) -> tuple[list[FrozenTrial], int]:
        """The list that holds a trial, and where."""
        if trial_id > 0:
            return self.trials, number
        return self.drafted, next(place for place, trial in enumerate(self.drafted) if trial._trial_id == trial_id)

    def remember(self, trial: FrozenTrial) -> None:
        """A trial as the database holds it, new or changed."""
        if trial.number < len(self.trials):
            self.trials[trial.number] = trial
        else:
            self.trials.append(trial)
        self.last = max(self.last, trial._trial_id)
        (self.others.discard if trial.state.is_finished() else self.others.add)(trial._trial_id)
