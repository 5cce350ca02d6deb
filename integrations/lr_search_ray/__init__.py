"""Runs comparisons on Ray Tune: its workers train, Optuna's samplers propose and Optuna's pruners decide.

>>> from lr_search_ray import RayExecutor
>>> executor = RayExecutor(resources_per_trial={"cpu": 1, "gpu": 0.5})  # lr_search.compare(..., executor=executor)

For people with a Tuner of their own: `StudySearcher` and `OptunaPruningScheduler`, `search_space`, `schedule_space` and
`schedule_of`, `tune_objective`.
"""

from lr_search_ray.cluster.requirement import require_ray

require_ray()

from lr_search_ray.ray_executor import RayExecutor  # noqa: E402
from lr_search_ray.tune.bridge import OptunaPruningScheduler  # noqa: E402
from lr_search_ray.tune.spaces import schedule_of, schedule_space, search_space  # noqa: E402
from lr_search_ray.tune.study_searcher import StudySearcher  # noqa: E402
from lr_search_ray.tune.tune_objective import tune_objective  # noqa: E402

__all__ = [
    "OptunaPruningScheduler",
    "RayExecutor",
    "StudySearcher",
    "schedule_of",
    "schedule_space",
    "search_space",
    "tune_objective",
]
