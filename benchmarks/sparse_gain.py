"""What measuring the gain ratio at fewer steps changes: `python benchmarks/sparse_gain.py [--sets a b c judge] [--seeds 3]`.

Runs the range test of each task and seed twice, with the ratio at every step (gain_ratio=True) and as by default, and tells
how many decades the suggestions of both lie apart, and how many forward passes each took. Both take the very same steps.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from tasks import TASKS

RULES = ("calibrated", "gain_ratio")
FAR = 0.02  # decades


@dataclass(frozen=True)
class Pair:
    """Two range tests of one task and seed.

    Args:
        name: of the task, with the seed.
        apart: decades between the suggestions, by rule.
        share: of the measured steps' forward passes.
        charged: steps, with the ratio at every step and by default.
        statuses: of the two suggestions.
    """

    name: str
    apart: tuple[float, ...]
    share: float
    charged: tuple[int, int]
    statuses: tuple[str, str]


def pair(task: str, seed: int) -> Pair:
    """Run both."""
    workload = TASKS[task].make()
    every, some = (workload.range_test(seed, extend=True, gain_ratio=asked) for asked in (True, None))
    assert np.array_equal(every.loss, some.loss)
    apart = tuple(abs(float(np.log10(some.suggest(rule).lr / every.suggest(rule).lr))) for rule in RULES)
    statuses = every.suggest().status, some.suggest().status
    share = some.num_forwards / every.num_forwards
    return Pair(f"{task}, seed {seed}", apart, share, (every.steps_charged, some.steps_charged), statuses)


def summary(title: str, pairs: list[Pair]) -> str:
    """A line a rule, and one of what was saved."""
    lines = [f"{title}: {len(pairs)} range tests"]
    for place, rule in enumerate(RULES):
        apart = np.array([each.apart[place] for each in pairs])
        lines.append(
            f"  {rule}: decades apart: median {np.median(apart):.4f}, p90 {np.quantile(apart, 0.9):.4f}, "
            f"worst {apart.max():.3f}; above {FAR}: {np.sum(apart > FAR)}"
        )
    charged = np.mean([each.charged for each in pairs], axis=0)
    others = sum(each.statuses[0] != each.statuses[1] for each in pairs)
    shares = [each.share for each in pairs]
    lines.append(
        f"  forward passes: {np.median(shares):.2f} in the median, {np.mean(shares):.2f} in the mean; "
        f"steps charged {charged[0]:.1f} -> {charged[1]:.1f}; another status: {others}"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the pairs that lie apart, and a summary of each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["a", "b", "c", "judge"])
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.sets:
        tasks = [task.name for task in TASKS.values() if task.set == name]
        pairs = [pair(task, seed) for task in tasks for seed in range(given.seeds)]
        for each in pairs:
            if max(each.apart) > FAR or each.statuses[0] != each.statuses[1]:
                apart = ", ".join(f"{rule} {size:.3f}" for rule, size in zip(RULES, each.apart, strict=True))
                print(f"  {each.name}: {apart}; {' -> '.join(each.statuses)}")
        print(summary(f"set {name}", pairs), flush=True)


if __name__ == "__main__":
    main()
