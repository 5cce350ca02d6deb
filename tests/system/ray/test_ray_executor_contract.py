"""RayExecutor under the suite for all executors."""

import pytest

from lr_search.testing import ExecutorContract
from lr_search_ray import RayExecutor

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]


class TestRayExecutor(ExecutorContract):
    def executor(self) -> RayExecutor:
        return RayExecutor(max_concurrent_trials=2)
