"""RayExecutor under the suite for all executors."""

import pytest

from lr_search.testing import ExecutorContract
from lr_search_ray import RayExecutor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


class TestRayExecutor(ExecutorContract):
    # trials of several seeds share nothing there: `test_several_seeds` says it all
    test_several_seeds_that_end_at_different_steps = None

    def executor(self) -> RayExecutor:
        return RayExecutor(max_concurrent_trials=2)
