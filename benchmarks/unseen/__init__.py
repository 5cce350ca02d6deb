"""A second set to judge on: trainings of 3,000 steps that have no relative among `tasks` and `lifelike`, neither in data nor in kind.

Tables of R's packages:
    houses by an additive network, marks in chemistry by an ordinal one, visits to doctors by a cross network, choices between cars by
    utilities, cells by soft trees, riders of a railway by splines, storms by a differential equation.
Source:
    Python's standard library by retention.
Made from fixed seeds:
    modular addition, Burgers' equation by its residual, Henon and Heiles' Hamiltonian, a driven pendulum by an operator network, rings
    by noise-contrastive energies, values of the mountain car by a dueling network that is fine-tuned, sorting by Sinkhorn.

They were drawn up, and their truth was measured (unseen_truth.py), before any rule was tried on them, so that they judge a rule once.
"""

from __future__ import annotations

from lifelike.task import LifelikeTask

from . import judge_made, judge_physics, judge_python, judge_tables

__all__ = ["TASKS"]

TASKS: dict[str, LifelikeTask] = {
    task.name: task for module in (judge_tables, judge_python, judge_physics, judge_made) for task in module.TASKS
}
