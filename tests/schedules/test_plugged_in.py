"""A schedule of an installed package: by its name, in a comparison, and as the plain code of the recommendation."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import lr_search as lrs
from lr_search import plugins
from lr_search.results.code.recipe import UNKNOWN
from lr_search.results.code.scheduler_code import scheduler_code
from lr_search.schedules import Constant, Cosine, OneCycle, by_name, join, warmup
from tests.helpers.workloads import line

ENTRY_POINTS = """
[lr_search.schedules]
halving = tiny_schedules:halving
hyperbolic = tiny_schedules:hyperbolic
silent = tiny_schedules:silent
"""
PLUGIN = '''
"""What an author of a plug-in writes."""

from dataclasses import dataclass

import numpy as np
from lr_search.schedules import Schedule, TorchCall
from lr_search.schedules.layout import Range, searchable
from lr_search.schedules.source import number, steps_text, whole


@dataclass(frozen=True)
class Halving(Schedule):
    """Written both ways: by StepLR where the distance is a whole number, and as a plain function."""

    lr: float
    every: float

    def values(self, steps):
        return self.lr / 2 ** np.floor(steps / self.every)

    def describe(self):
        return f"halved from {self.lr:.3g} every {self.every:.3g} steps"

    def torch_call(self, num_steps, *, momentum, groups):
        every = whole(self.every)
        return None if every is None else TorchCall("StepLR", [f"step_size={every}", "gamma=0.5"], self.lr)

    def factor_lines(self, lr, num_steps):
        return [f"drops = int(step / {steps_text(self.every)})", f"return {number(self.lr / lr)} / 2**drops"]


@searchable(drops=Range(1, 5, whole=True))
def halving(lr, num_steps, steps_per_epoch=None, *, drops=2):
    """Halved at equal distances."""
    return Halving(lr, num_steps / (drops + 1))


@dataclass(frozen=True)
class Hyperbolic(Schedule):
    """Written as a plain function alone. It rises first, so its highest LR is not its first."""

    lr: float
    scale: float

    def values(self, steps):
        return self.lr / (1 + np.abs(steps - self.scale) / self.scale)

    def describe(self):
        return f"hyperbolic around {self.lr:.3g}"

    def factor_lines(self, lr, num_steps):
        return [f"return {number(self.lr / lr)} / (1 + abs(step - {self.scale}) / {self.scale})"]


def hyperbolic(lr, num_steps, steps_per_epoch=None):
    """Up to the peak in a tenth of the training, and down as 1/step."""
    return Hyperbolic(lr, num_steps / 10)


@dataclass(frozen=True)
class Silent(Hyperbolic):
    """Writes nothing of its own: what it inherits is of other LRs."""

    def values(self, steps):
        return super().values(steps) / 2


def silent(lr, num_steps, steps_per_epoch=None):
    """Half of hyperbolic."""
    return Silent(lr, num_steps / 10)
'''
NAMES = ("halving", "hyperbolic", "silent")


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package on the path, with its entry points, as an installer leaves it."""
    (tmp_path / "tiny_schedules.py").write_text(PLUGIN)
    info = tmp_path / "tiny_schedules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-schedules\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.registered.cache_clear()
    yield
    plugins.registered.cache_clear()
    sys.modules.pop("tiny_schedules", None)


def expected(name: str, lr: float, num_steps: int) -> np.ndarray:
    """The LRs, from the shape's formula."""
    if name == "halving":
        return np.array([lr * 0.5 ** (3 * step // num_steps) for step in range(num_steps)])
    rise, peak = num_steps / 10, {"hyperbolic": lr, "silent": lr / 2}[name]
    return np.array([peak / (2 - step / rise) if step < rise else peak * rise / step for step in range(num_steps)])


def lrs_of_code(code: str, num_steps: int) -> np.ndarray:
    """The LRs that pasted code trains with."""
    names: dict = {"model": torch.nn.Linear(1, 1)}
    exec(code, names)
    walked = []
    for _ in range(num_steps):
        walked.append(names["optimizer"].param_groups[0]["lr"])
        names["optimizer"].step()
        names["scheduler"].step()
    return np.array(walked)


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_by_its_name_and_under_a_warm_up(name: str) -> None:
    schedule = by_name(name, lr=0.1, num_steps=300)
    np.testing.assert_allclose(schedule(np.arange(300)), expected(name, 0.1, 300), rtol=1e-12)
    warmed = by_name(name, lr=0.1, num_steps=330, warmup_steps=30)
    np.testing.assert_allclose(warmed(np.arange(30, 330)), expected(name, 0.1, 300), rtol=1e-12)


@pytest.mark.parametrize(("num_steps", "kind"), [(30, "StepLR"), (31, "LambdaLR")])
def test_a_comparison_recommends_it_with_its_code_which_trains_with_its_lrs(num_steps: int, kind: str) -> None:
    answer = recommended("halving", num_steps)
    assert f"import {kind}\n" in answer.code
    lr = float(f"{answer.lr:.4g}")
    np.testing.assert_allclose(lrs_of_code(answer.code, num_steps), expected("halving", lr, num_steps), rtol=1e-9)


def test_one_that_torch_has_nothing_like_comes_as_a_plain_function() -> None:
    answer = recommended("hyperbolic", 30)
    assert "def factor(step)" in answer.code
    assert "lr_search" not in answer.code
    lr = float(f"{answer.lr:.4g}")
    np.testing.assert_allclose(lrs_of_code(answer.code, 30), expected("hyperbolic", lr, 30), rtol=1e-9)


def test_one_that_writes_nothing_itself_is_attached() -> None:
    answer = recommended("silent", 30)
    assert f"{UNKNOWN}\nscheduler = schedule.attach(optimizer)" in answer.code


def recommended(name: str, num_steps: int) -> lrs.Recommendation:
    comparison = lrs.compare(
        line(num_steps=num_steps), strategies=["random"], schedules=[name], lr_range=(0.01, 0.1), budget=2, seeds=1,
        storage=None, progress=False,
    )  # fmt: skip
    assert set(comparison.trials["schedule"]) == {name}
    answer = comparison.recommend()
    assert answer.schedule == name
    return answer


def test_its_shape_is_searched() -> None:
    comparison = lrs.compare(
        line(num_steps=30), strategies=["random"], schedules=["halving"], lr_range=(0.01, 0.1), budget=6, seeds=1,
        storage=None, progress=False, search_shape=True,
    )  # fmt: skip
    assert comparison.trials["drops"].between(1, 5).all()
    assert comparison.trials["drops"].nunique() > 1


@pytest.mark.parametrize("name", ["halving", "hyperbolic"])
@pytest.mark.parametrize("num_steps", [90, 100])
def test_joined_with_ours_each_is_written_in_turn(name: str, num_steps: int) -> None:
    theirs = by_name(name, lr=0.1, num_steps=num_steps)
    for schedule in (warmup(theirs, 20), join([theirs, Cosine(0.05, 40), Constant(0.01)], [num_steps, num_steps + 40])):
        code = scheduler_code(schedule, num_steps + 60)
        assert code is not None
        optimizer = "import torch\noptimizer = torch.optim.SGD(model.parameters(), lr=" + repr(code.first_lr) + ")"
        walked = lrs_of_code("\n".join([*code.needs, optimizer, code.lines]), num_steps + 60)
        np.testing.assert_allclose(walked, schedule(np.arange(num_steps + 60)), rtol=1e-9, atol=1e-13)


def test_the_documents_own_schedule_is_what_it_says() -> None:
    document = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
    (block,) = (
        code for code in re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL) if "class Halving" in code
    )
    names: dict = {"__name__": "halving"}
    exec(block, names)
    schedule = names["halving"](0.1, 300)
    assert schedule == names["Halving"](0.1, 75)
    for each in (schedule, warmup(schedule, 5), join([Cosine(0.2, 10), schedule], [10])):
        code = scheduler_code(each, 300)
        assert code is not None
        optimizer = f"import torch\noptimizer = torch.optim.SGD(model.parameters(), lr={code.first_lr!r})"
        walked = lrs_of_code("\n".join([*code.needs, optimizer, code.lines]), 300)
        np.testing.assert_allclose(walked, each(np.arange(300)), rtol=1e-9, atol=1e-13)
    assert "StepLR" in scheduler_code(schedule, 300).lines  # type: ignore[union-attr]
    assert "2**(step // 75)" in scheduler_code(join([Cosine(0.2, 10), schedule], [10]), 300).lines  # type: ignore[union-attr]


def test_a_class_derived_from_one_of_ours_inherits_no_code() -> None:
    @dataclass(frozen=True)
    class Slower(Cosine):
        def values(self, steps: np.ndarray) -> np.ndarray:
            return super().values(steps / 2)

    assert scheduler_code(Slower(0.1, 100), 100) is None
    assert scheduler_code(warmup(Slower(0.1, 100), 10), 100) is None


def test_no_code_lets_go_of_a_momentum_that_is_held_for_a_cycle_to_come() -> None:
    schedule = join([OneCycle(0.1, 50, base_momentum=None), OneCycle(0.1, 60)], [50])
    assert schedule.momentum(0) == 0.95
    assert scheduler_code(schedule, 40) is None
    assert scheduler_code(schedule, 40, momentum=False) is not None
