"""Small trainings of many kinds, to try learning-rate finders on. Import takes no time; data are made when asked for.

Sets "a", "b" and "c" are for fitting rules (on some, tried on the others); "judge" holds kinds and architectures that none
of them has, and is only for judging what has been fitted. Set c was the judge of a first fit, and could not be one again.
"""

from __future__ import annotations

from . import fit_a, fit_b, fit_c, judge
from .task import Set, Task

__all__ = ["TASKS", "Set", "Task"]

TASKS: dict[str, Task] = {task.name: task for task in (*fit_a.TASKS, *fit_b.TASKS, *fit_c.TASKS, *judge.TASKS)}
