"""The contracts of schedules, samplers, strategies and executors, for the tests of a plug-in to inherit. Needs pytest."""

try:
    import pytest

    # before they are imported, so that a failure shows what was compared
    pytest.register_assert_rewrite("lr_search.testing.executor_contract", "lr_search.testing.schedule_contract")
except ModuleNotFoundError as error:
    from lr_search.errors import MissingPackageError

    raise MissingPackageError("lr_search.testing needs pytest: pip install pytest") from error

from lr_search.testing.executor_contract import ExecutorContract
from lr_search.testing.layout_contract import LayoutContract
from lr_search.testing.sampler_contract import SamplerContract
from lr_search.testing.schedule_contract import ScheduleContract
from lr_search.testing.strategy_contract import StrategyContract

__all__ = ["ExecutorContract", "LayoutContract", "SamplerContract", "ScheduleContract", "StrategyContract"]
