"""How the best learning rate moves with what is trained: `python benchmarks/factors.py [--quick] [--report]`.

Perceptrons on scikit-learn's digits, by SGD with momentum .9 and by Adam. One factor at a time is varied around a base (all
1280 examples, 2 hidden layers of 64, batches of 32): share of the data, width, depth, and batch size. All train for 300 steps
at a constant LR; the batch size is varied a second time at a constant number of examples seen, as the scaling rules have it.
Weights begin as He et al. have it (2015, arXiv:1502.01852): from torch's own defaults, 8 layers hardly leave the start in
300 steps of SGD.

The best LR is that of the lowest validation loss at the end, of a grid of four LRs a decade that grows until every seed's
best lies half a decade inside, refined by a parabola through the lowest point and its neighbours. Seeds differ in weights and
order of the batches, not in the examples. Beside it stands what the range test says of the same model and data; it knows no
number of steps. Prints two tables, writes factors.json beside this file and the figure docs/factors.png.
`--report` only draws what factors.json holds; `--quick` is a small try, and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from factors_figure import draw
from factors_fit import grown
from factors_tables import settings_table, slopes_table
from tasks import build, data, models
from torch import nn
from truth import final_loss, short

import lr_search as lrs
from lr_search.curves.gain_crossing import gain_crossing

PATH = Path(__file__).with_name("factors.json")
FIGURE = Path(__file__).parents[1] / "docs" / "factors.png"
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": partial(torch.optim.SGD, momentum=0.9, fused=True),
    "Adam": partial(torch.optim.Adam, fused=True),
}


@dataclass(frozen=True)
class Setting:
    """One training; the defaults are the base."""

    optimizer: str
    share: float = 1.0
    width: int = 64
    depth: int = 2
    batch_size: int = 32
    num_steps: int = 300


FACTORS: dict[str, tuple[str, tuple[float, ...]]] = {  # name -> field of Setting, its values
    "share of the data": ("share", (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)),
    "width": ("width", (16, 32, 64, 128, 256, 512)),
    "depth": ("depth", (1, 2, 4, 8)),
    "batch size, same steps": ("batch_size", (4, 16, 32, 64, 256)),
    "batch size, same epochs": ("batch_size", (4, 16, 32, 64, 256)),
}


def varied(factor: str, value: float, optimizer: str, num_steps: int) -> Setting:
    """The base with one factor at this value."""
    base = Setting(optimizer, num_steps=num_steps)
    setting = replace(base, **{FACTORS[factor][0]: value})
    if factor == "batch size, same epochs":
        return replace(setting, num_steps=round(num_steps * base.batch_size / value))
    return setting


def perceptron(width: int, depth: int) -> nn.Sequential:
    """Hidden layers of one width, with He's weights and no biases to begin with."""
    model = models.mlp(64, *[width] * depth, 10)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def workload(setting: Setting) -> lrs.Workload:
    """The setting as something to train; all are judged on the same examples."""
    split = data.digits()
    count = round(setting.share * len(split.train[0]))
    return build.workload(
        partial(perceptron, setting.width, setting.depth),
        OPTIMIZERS[setting.optimizer],
        build.cross_entropy,
        data.Split(tuple(part[:count] for part in split.train), split.valid),
        batch_size=setting.batch_size,
        num_steps=setting.num_steps,
    )


def measure(setting: Setting, seeds: int) -> dict[str, Any]:
    """What the range tests say, and the losses after training around that, as far as it takes."""
    begun, work = time.perf_counter(), workload(setting)
    members = work.range_test(seeds=seeds, extend=True).members
    suggested = [member.suggest().lr for member in members]
    initial: dict[int, float] = {}

    def final(lr: float) -> list[float]:
        """(seeds,) losses; one that diverged, or ended above the start, counts as not trained."""
        losses = []
        for seed in range(seeds):
            initial[seed], loss = final_loss(work, lr, seed)
            losses.append(initial[seed] if loss is None else min(loss, initial[seed]))
        return losses

    grid = grown(final, suggested)
    return asdict(setting) | {
        "lrs": [short(lr) for lr in grid],
        "final": [[short(loss) for loss in losses] for losses in grid.values()],
        "initial": [short(initial[seed]) for seed in range(seeds)],
        "suggested": [short(lr) for lr in suggested],
        "half_gain": [short(gain_crossing(member, 0.5)) for member in members],
        "edge": [short(gain_crossing(member, 0.0)) for member in members],
        "seconds": round(time.perf_counter() - begun, 1),
    }


def save(found: list[dict[str, Any]]) -> None:
    """A line a setting."""
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in found)
    PATH.write_text(f'{{"torch": {json.dumps(torch.__version__)},\n"settings": [\n{lines}\n]}}\n')


def main() -> None:
    """Measure, print the tables, write JSON and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--report", action="store_true", help="only draw what factors.json holds")
    parser.add_argument(
        "--quick", action="store_true", help="two seeds, 60 steps, two or three values a factor; writes nothing"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds, num_steps = (2, 60) if given.quick else (given.seeds, Setting("SGD").num_steps)
    plan = {
        (factor, optimizer): {
            value: varied(factor, value, optimizer, num_steps)
            for value in (values[::2] if given.quick else values)
        }
        for factor, (_, values) in FACTORS.items()
        for optimizer in OPTIMIZERS
    }  # fmt: skip
    found = measured(
        list(dict.fromkeys(s for settings in plan.values() for s in settings.values())), seeds, given.report
    )
    if not given.quick and not given.report:
        save(found)
    by_setting = {Setting(**{name: entry[name] for name in Setting.__dataclass_fields__}): entry for entry in found}
    series = {key: {value: by_setting[s] for value, s in settings.items()} for key, settings in plan.items()}
    print(f"\n{settings_table(series)}\n\n{slopes_table(series)}")
    if not given.quick:
        draw(series, FIGURE)


def measured(settings: list[Setting], seeds: int, report: bool) -> list[dict[str, Any]]:
    """Every setting's entry, from the file or anew."""
    if report:
        return list(json.loads(PATH.read_text())["settings"])
    found = []
    for setting in settings:
        found.append(measure(setting, seeds))
        print(f"{setting}: {len(found[-1]['lrs'])} LRs, {found[-1]['seconds']:.0f} s", flush=True)
    print(f"all: {sum(entry['seconds'] for entry in found):.0f} s")
    return found


if __name__ == "__main__":
    main()
