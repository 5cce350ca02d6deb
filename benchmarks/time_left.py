"""Whether the time left is right: `OMP_NUM_THREADS=1 python benchmarks/time_left.py [--runs N] [--part NAME ...] [--out FILE]`.

    demo        what `lr-search demo` compares, on digits (FusedExecutor, 24 trials at once)
    confirmed   regression with an MLP and AdamW: three strategies and two schedules, then confirmed (LocalExecutor)
    pruned      a wider MLP on digits, under the pruner "auto" (LocalExecutor)

Each runs N times (4), every other time with processes beside it that keep each core busy. At the first report after a tenth of the
steps: seconds left as they were said, over those that it took. And of the plan: seconds as they were said before the first step, over
those that the trials took. Aim: within a factor of 1.5 in 8 of 10. About a minute a run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lr_search as lrs
import lr_search.comparison.compare as comparing
from lr_search.demo import AT_ONCE, digits
from lr_search.demo import workload as demo_workload
from lr_search.executors.first_pace import FirstPace
from lr_search.executors.progress import Progress

SHARE, FACTOR, AIM = 0.1, 1.5, 0.8


@dataclass
class Run:
    """A comparison: what was said of its time, and what it took; seconds."""

    part: str
    competed: bool
    plan: float
    took: float
    said: float
    left: float

    @property
    def ratio(self) -> float:
        """Said over true, at a tenth of the steps."""
        return self.said / self.left


class Timed(Progress):
    """Notes the time, and what is said of it."""

    def __init__(self, trials: int, steps: int, **options: Any) -> None:
        super().__init__(trials, steps, **options)
        self.steps, self.begun = steps, math.nan
        self.said: tuple[float, float] | None = None  # when, and how long it would still take
        self.ended = math.nan
        SEEN.append(self)

    def begin(self, *job: Any) -> None:
        """See `Progress`."""
        self.begun = time.monotonic() if math.isnan(self.begun) else self.begun
        super().begin(*job)

    def evaluated(self, *reported: Any) -> None:
        """See `Progress`."""
        super().evaluated(*reported)
        self._note()

    def end(self, *reported: Any) -> None:
        """See `Progress`."""
        super().end(*reported)
        self._note()

    def _note(self) -> None:
        if self.said is None and self._time_left.taken >= SHARE * self._time_left.planned:
            self.said = time.monotonic(), self.seconds_left or math.nan

    def close(self) -> None:
        """See `Progress`."""
        self.ended = time.monotonic()
        super().close()


SEEN: list[Timed] = []
PACES: list[FirstPace | None] = []


def mlp(sizes: Sequence[int]) -> nn.Module:
    """With ReLUs between its layers."""
    layers = [layer for each in itertools.pairwise(sizes) for layer in (nn.Linear(*each), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def confirmed() -> lrs.Comparison:
    """Regression, whose answer is confirmed."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2000, 16, generator=generator)
    targets = torch.sin(inputs @ torch.randn(16, 1, generator=generator))
    train, valid = (
        torch.utils.data.TensorDataset(inputs[part], targets[part]) for part in (slice(1500), slice(1500, None))
    )
    workload = lrs.regression(
        model=partial(mlp, [16, 64, 64, 1]), optimizer=torch.optim.AdamW, train=train, valid=valid,
        batch_size=32, num_steps=400, eval_every=50, device="cpu",
    )  # fmt: skip
    return lrs.compare(
        workload, strategies=["random", "tpe", "range_test"], schedules=["cosine", "one_cycle"], lr_range=(1e-5, 1.0),
        budget=6, seeds=2, confirm=2, storage=None,
    )  # fmt: skip


def pruned() -> lrs.Comparison:
    """Trials are cut, and what they leave pays for others."""
    (inputs, targets), (valid_inputs, valid_targets) = digits()
    workload = lrs.classification(
        model=lambda: nn.Sequential(nn.Flatten(), mlp([64, 256, 256, 10])), optimizer=partial(torch.optim.SGD, momentum=0.9),
        train=(inputs, targets), valid=(valid_inputs, valid_targets), batch_size=32, num_steps=300, eval_every=30, device="cpu",
    )  # fmt: skip
    return lrs.compare(
        workload, strategies=["random", "range_test"], schedules=["constant", "cosine"], budget=8, seeds=2, pruner="auto",
        storage=None,
    )  # fmt: skip


def demo() -> lrs.Comparison:
    """As `lr-search demo`."""
    return lrs.compare(demo_workload(), seeds=2, storage=None, executor=lrs.FusedExecutor(width=AT_ONCE))


PARTS: dict[str, Callable[[], lrs.Comparison]] = {"demo": demo, "confirmed": confirmed, "pruned": pruned}


def busy() -> None:
    """Keep a core busy until killed."""
    while True:
        pass


@contextmanager
def competing(on: bool) -> Iterator[None]:
    """A process for each core beside this one."""
    others = [
        multiprocessing.get_context("spawn").Process(target=busy, daemon=True)
        for _ in range((os.cpu_count() or 1) * on)
    ]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def measured(part: str, competed: bool) -> Run:
    """Run a comparison."""
    SEEN.clear()
    PACES.clear()
    with competing(competed):
        PARTS[part]()
    (seen,), (pace,) = SEEN, PACES
    assert pace is not None
    assert seen.said is not None
    at, said = seen.said
    plan = seen.steps * pace.seconds_a_step
    return Run(part, competed, plan, seen.ended - seen.begun, said, seen.ended - at)


def noted(text: Callable[..., str], *arguments: Any) -> str:
    """What `plan_text` gives; the pace is noted."""
    *others, pace_of = arguments

    def pace(trials: int) -> FirstPace | None:
        PACES.append(pace_of(trials))
        return PACES[-1]

    return text(*others, pace)


def main() -> None:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4, help="of each")
    parser.add_argument("--part", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, help="write the runs to this file too, as JSON")
    given = parser.parse_args()
    logging.getLogger("lr_search").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    comparing.Progress = Timed  # type: ignore[misc]
    comparing.plan_text = partial(noted, comparing.plan_text)  # type: ignore[assignment]
    runs: list[Run] = []
    print(f"{'':<12}{'beside':<8}{'plan s':>8}{'took s':>8}{'ratio':>7}   {'said s':>8}{'left s':>8}{'ratio':>7}")
    for place in range(given.runs):
        for part in given.part:
            run = measured(part, competed=place % 2 == 1)
            runs.append(run)
            beside = "busy" if run.competed else "-"
            print(
                f"{part:<12}{beside:<8}{run.plan:>8.1f}{run.took:>8.1f}{run.plan / run.took:>7.2f}   "
                f"{run.said:>8.1f}{run.left:>8.1f}{run.ratio:>7.2f}",
                flush=True,
            )
            if given.out is not None:
                given.out.write_text(json.dumps([asdict(each) for each in runs], indent=1))
    for what, ratios in {"time left": [r.ratio for r in runs], "plan": [r.plan / r.took for r in runs]}.items():
        good = sum(1 / FACTOR <= ratio <= FACTOR for ratio in ratios)
        print(f"{what}: {good} of {len(runs)} within a factor of {FACTOR} (aim: {AIM:.0%})")


if __name__ == "__main__":
    main()
