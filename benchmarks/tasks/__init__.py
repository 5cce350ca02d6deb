"""Small trainings of many kinds, to try learning-rate finders on. Import takes no time; data are made when asked for.

Sets "a" and "b" are for fitting rules (on one, tried on the other); "judge" holds kinds and architectures that neither of
them has, and is only for judging what has been fitted; "fresh" is for judging what has been fitted after "judge" was used.
"""

from __future__ import annotations

from . import fit_a, fit_b, fresh, judge
from .task import Set, Task

__all__ = ["TASKS", "Set", "Task"]

TASKS: dict[str, Task] = {task.name: task for task in (*fit_a.TASKS, *fit_b.TASKS, *judge.TASKS, *fresh.TASKS)}
