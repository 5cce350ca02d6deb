"""What it gains to train several seeds in one wave: `OMP_NUM_THREADS=1 python benchmarks/fused_seeds.py [--rounds N]`.

A grid of 8 LRs under 3 seeds, of the MLP of `fused.py`, on the CPU in one thread:

    trainings     of 300 steps, evaluated every 30: 24 models at once, over three times 8, without what a comparison does beside
    comparisons   the same by FusedExecutor, width 24 (one wave) over width 8 (a wave a seed)

All take turns; CPU and wall time, medians over the rounds of the ratios within a round. Aim: 2.2 times as fast. Run it alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from fused_tasks import OPTIMIZERS, SANE_LRS, TASKS

import lr_search as lrs
from lr_search.fused.lane import Member
from lr_search.fused.support import Support, support_of
from lr_search.fused.trials import FusedTraining
from lr_search.schedules.decay import Constant

MLP, LRS, SEEDS, STEPS, EVAL_EVERY, AIM = "MLP 64-32-32-10", 8, (0, 1, 2), 300, 30, 2.2
Contest = tuple[Callable[[], None], Callable[[], None]]  # seed by seed, and all in one wave


def trainings(optimizer: str) -> Contest:
    """The trainings alone."""
    workload = TASKS[MLP].workload(optimizer, STEPS, "cpu", eval_every=EVAL_EVERY)
    support = support_of(workload, 0)
    lrs_of = np.geomspace(*SANE_LRS[optimizer], LRS).tolist()

    def by_seed() -> None:
        for seed in SEEDS:
            trained(workload, support, lrs_of, [seed])

    return by_seed, lambda: trained(workload, support, lrs_of, SEEDS)


def trained(workload: lrs.Workload, support: Support, rates: Sequence[float], seeds: Sequence[int]) -> None:
    """Train all LRs under these seeds to their ends."""
    members = [Member(workload, Constant(lr)) for _ in seeds for lr in rates]
    training = FusedTraining(members, [seed for seed in seeds for _ in rates], [support] * len(members))
    for _ in training:
        pass
    training.close()
    assert all(lane.stopped == "finished" for lane in training.lanes)


def comparisons(optimizer: str) -> Contest:
    """Whole comparisons."""
    workload = TASKS[MLP].workload(optimizer, STEPS, "cpu", eval_every=EVAL_EVERY)

    def run(width: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            lrs.compare(
                workload, strategies=["grid"], schedules=["constant"], budget=LRS, seeds=list(SEEDS),
                lr_range=SANE_LRS[optimizer], executor=lrs.FusedExecutor(width=width), storage=None, progress=False,
            )  # fmt: skip

    return lambda: run(LRS), lambda: run(LRS * len(SEEDS))


def seconds(run: Callable[[], None]) -> tuple[float, float]:
    """Of the CPU, and of the wall."""
    begun = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - begun[0], time.perf_counter() - begun[1]


def ratios(contest: Contest, rounds: int) -> tuple[float, float]:
    """How many times as fast one wave is: CPU, wall."""
    for run in contest:
        run()
    found = []
    for number in range(rounds):
        order = (0, 1) if number % 2 else (1, 0)
        took = {place: seconds(contest[place]) for place in order}
        found.append([apart / together for apart, together in zip(took[0], took[1], strict=True)])
    cpu, wall = (statistics.median(each) for each in zip(*found, strict=True))
    return cpu, wall


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for what, contest_of in {"trainings": trainings, "comparisons": comparisons}.items():
        for optimizer in OPTIMIZERS:
            cpu, wall = ratios(contest_of(optimizer), rounds)
            reached = "reached" if min(cpu, wall) >= AIM else "MISSED"
            print(f"{what}, {optimizer}: {cpu:.2f} times (CPU), {wall:.2f} (wall); aim {AIM}: {reached}", flush=True)


if __name__ == "__main__":
    main()
