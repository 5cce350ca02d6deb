"""RayExecutor under the suite for all executors."""

from collections.abc import Iterator

import pytest

from lr_search_ray import RayExecutor
from tests.helpers.executor_contract import ExecutorContract, followed
from tests.helpers.on_ray import own_ray

__all__ = ["followed"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    with own_ray(num_cpus=2):
        yield


class TestRayExecutor(ExecutorContract):
    def executor(self) -> RayExecutor:
        return RayExecutor(max_concurrent_trials=2)
