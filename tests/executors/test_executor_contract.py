"""Every executor that runs in this process, under the suite for all of them."""

import pytest

import lr_search as lrs
from lr_search.testing import ExecutorContract


class TestLocalExecutor(ExecutorContract):
    def executor(self) -> lrs.LocalExecutor:
        return lrs.LocalExecutor()


class TestFusedExecutor(ExecutorContract):
    tolerance = 1e-3

    def executor(self) -> lrs.FusedExecutor:
        return lrs.FusedExecutor(width=4)


@pytest.mark.long
class TestFusedExecutorOfItsOwnWidth(ExecutorContract):
    tolerance = 1e-3

    def executor(self) -> lrs.FusedExecutor:
        return lrs.FusedExecutor()
