"""Best learning rates of random tasks, to fit rules on: `python benchmarks/variants.py [--first 0] [--last 120]`.

Each task of tasks/variants.py is trained at constant LRs with one seed, four LRs a decade, from 3.6 decades below to half a
decade above the LR at which its range test ended; what is found is added to variants.json. Only `fit_rule.py` reads it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tasks.variants import variant
from truth import GRID, final_loss, short

PATH = Path(__file__).with_name("variants.json")
SEED = 100  # not one of those that range tests are run with


def measure(number: int) -> tuple[str, dict[str, Any]]:
    """A task's name, and the final losses of its trainings."""
    name, workload = variant(number)
    end = np.median([np.log10(workload.range_test(seed, extend=True).lr[-1]) for seed in range(2)])
    lrs = [lr for lr in GRID if end - 3.6 <= np.log10(lr) <= end + 0.5]
    losses = [final_loss(workload, lr, SEED) for lr in lrs]
    return name, {
        "set": "variant",
        "number": number,
        "num_steps": workload.num_steps,
        "initial": [short(losses[0][0])],
        "lrs": [short(lr) for lr in lrs],
        "final": [[short(after)] for _, after in losses],
    }


def main() -> None:
    """Measure what is not yet there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=120)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = json.loads(PATH.read_text()) if PATH.exists() else {}
    there = {entry["number"] for entry in found.values()}
    for number in range(given.first, given.last):
        if number in there:
            continue
        name, entry = measure(number)
        found[name] = entry
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in found.items())
        PATH.write_text(f"{{\n{lines}\n}}\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
