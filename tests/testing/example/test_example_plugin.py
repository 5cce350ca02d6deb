"""The tests of the example plug-in: it inherits the contracts, and finds its things by their entry points."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import BaseSampler

from lr_search import plugins
from lr_search.executors import Executor
from lr_search.samplers import Strategy
from lr_search.schedules import Schedule, by_name
from lr_search.testing import ExecutorContract, LayoutContract, SamplerContract, StrategyContract


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    """The package on the path, with its entry points, as an installer leaves it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(Path(__file__).parent)
        plugins.registered.cache_clear()
        yield
    plugins.registered.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "example_plugin"]:
        del sys.modules[name]


class TestHyperbolic(LayoutContract):
    @pytest.fixture
    def layout(self) -> Callable[..., Schedule]:
        layout: Callable[..., Schedule] = plugins.load_plugin(plugins.SCHEDULES, "hyperbolic")
        return layout


class TestGoldenSampler(SamplerContract):
    independent = None

    @pytest.fixture
    def make_sampler(self) -> Callable[[int], BaseSampler]:
        from example_plugin.golden import GoldenSampler  # type: ignore[import-not-found]

        return lambda seed: GoldenSampler(seed=seed)  # type: ignore[no-any-return]


class TestGolden(StrategyContract):
    @pytest.fixture
    def strategy(self) -> Strategy:
        strategy: Strategy = plugins.load_plugin(plugins.STRATEGIES, "golden")
        return strategy


@pytest.mark.long
class TestLastFirst(ExecutorContract):
    def executor(self) -> Executor:
        executor: Executor = plugins.load_plugin(plugins.EXECUTORS, "last_first")()
        return executor


def test_it_goes_by_its_names() -> None:
    schedule: Any = by_name("hyperbolic", lr=0.1, num_steps=300)
    assert type(schedule).__module__ == "example_plugin.hyperbolic"
    assert schedule([0, 30, 90]).tolist() == [0.1, 0.05, 0.025]
