"""The measurements of `fused.py`: rates by width, agreement with trainings by themselves, memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fused_tasks import SANE_LRS, TASKS

import lr_search as lrs
from lr_search.fused.lane import Member
from lr_search.fused.support import Support, support_of
from lr_search.fused.trials import FusedTraining
from lr_search.fused.width import fastest_width
from lr_search.schedules.decay import Constant
from lr_search.training.training import train

SEED, LR = 0, 1e-3
MOST_STEPS = 20_000  # of a training that is timed
FEWEST, WARM_UPS = 1, 2  # steps in a stretch that is timed; stretches before
WIDTH, STEPS, EVAL_EVERY = 16, 50, 10  # of the agreement
MEMORY_STEPS = 5
Clock = Callable[[], float]
STATUS = Path("/proc/self/status")
SCRIPT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from fused_runs import added_bytes; print(added_bytes(*sys.argv[2:]))"
)


def clock_of(device: torch.device) -> Clock:
    """CPU time on the CPU, where one thread does it all and others may have their share; on a GPU, that of the wall."""
    return time.process_time if device.type == "cpu" else time.perf_counter


@dataclass
class Contender:
    """One way to train, that goes on and on.

    Args:
        models: at once.
        advance: takes so many steps.
        clock: seconds.
        steps: in a stretch that is timed.
    """

    models: int
    advance: Callable[[int], object]
    clock: Clock
    steps: int = FEWEST

    def rate(self) -> float:
        """Model-steps a second, over a stretch."""
        begun = self.clock()
        self.advance(self.steps)  # reads the losses, which waits for the device
        return self.models * self.steps / (self.clock() - begun)

    def fit(self, seconds: float, rounds: int) -> None:
        """Choose the stretch, after warming up."""
        for _ in range(WARM_UPS):
            rate = self.rate()
        most = (MOST_STEPS - WARM_UPS * FEWEST) // rounds
        self.steps = max(FEWEST, min(int(seconds * rate / self.models), most))


def rates(workload: lrs.Workload, support: Support, widths: Sequence[int], rounds: int, seconds: float) -> Any:
    """Model-steps a second of one after another, and of each width over that: by turns, another first each time.

    Args:
        workload: of MOST_STEPS steps.
        support: what is known of it.
        widths: how many at once.
        rounds: how often each is timed.
        seconds: of training that are timed at a time.
    """
    single = train(workload, Constant(LR), seed=SEED)
    together = [fused(workload, support, width) for width in widths]
    clock = clock_of(workload.torch_device)
    contenders = [Contender(1, lambda steps: single.advance(single.step + steps), clock)]
    contenders += [Contender(width, each.advance, clock) for width, each in zip(widths, together, strict=True)]
    for each in contenders:
        each.fit(seconds, rounds)
    found = []
    for number in range(rounds):
        turn = {place: contenders[place].rate() for place in rotated(range(len(contenders)), number)}
        found.append([turn[place] for place in range(len(contenders))])
    single.close()
    for training in together:
        training.close()
    ratios = {
        str(width): statistics.median(rate[place] / rate[0] for rate in found) for place, width in enumerate(widths, 1)
    }
    return {"alone": statistics.median(rate[0] for rate in found), "ratios": ratios}


def rotated(items: Sequence[Any], by: int) -> list[Any]:
    """The same, beginning elsewhere."""
    at = by % len(items)
    return [*items[at:], *items[:at]]


def fused(workload: lrs.Workload, support: Support, width: int) -> FusedTraining:
    """So many alike."""
    return FusedTraining([Member(workload, Constant(LR))] * width, SEED, [support] * width)


def agreement(task: str, optimizer: str, device: str) -> dict[str, float]:
    """The largest relative differences of losses and weights, fused against alone."""
    workload = TASKS[task].workload(optimizer, STEPS, device, eval_every=EVAL_EVERY)
    low, high = SANE_LRS[optimizer]
    members = [
        Member(workload, Constant(low * (high / low) ** (place / (WIDTH - 1))), snapshots=1) for place in range(WIDTH)
    ]
    together = FusedTraining(members, SEED, [support_of(workload, SEED)] * WIDTH)
    evaluations: list[list[lrs.Evaluation]] = [[] for _ in members]
    for lane in (lane for lanes in together for lane in lanes):
        assert lane.evaluation is not None, lane.reason
        evaluations[lane.index].append(lane.evaluation)
    losses, weights = [], []
    for lane, found in zip(together.lanes, evaluations, strict=True):
        single = train(workload, lane.schedule, seed=SEED, snapshots=1)
        losses += [relative(losses_of(one), losses_of(other)) for one, other in zip(found, list(single), strict=True)]
        weights.append(relative(vector(lane.snapshots[-1].weights), vector(single.snapshots[-1].weights)))
        single.close()
    together.close()
    return {"losses": max(losses), "weights": max(weights)}


def losses_of(evaluation: lrs.Evaluation) -> torch.Tensor:
    """On the validation data, and on the training data where there were steps."""
    values = [evaluation.metrics["loss"], *([evaluation.train_loss] if evaluation.step else [])]
    return torch.tensor(values, dtype=torch.float64)


def vector(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """All weights and running statistics of a model."""
    return torch.cat([each.double().flatten() for each in weights.values() if each.is_floating_point()])


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """The length of the difference over that of `other`."""
    return float((one - other).norm() / other.norm())


def added_bytes(task: str, optimizer: str, device: str) -> int | None:
    """What 16 models add to the peak of memory, in a process of its own; None where the system does not tell."""
    torch.set_num_threads(1)
    workload = TASKS[task].workload(optimizer, MEMORY_STEPS, device)
    support = support_of(workload, SEED)
    before: int | None = None
    for width in (1, WIDTH):  # the first loads what any training needs
        before = peak_bytes(device)
        training = fused(workload, support, width)
        training.advance(MEMORY_STEPS)
        training.close()
        del training
    after = peak_bytes(device)
    return None if before is None or after is None else after - before


def peak_bytes(device: str) -> int | None:
    """The most memory held so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if not STATUS.exists():
        return None
    line = next(each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def added_apart(task: str, optimizer: str, device: str) -> int | None:
    """`added_bytes`, in a process of its own."""
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), task, optimizer, device]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: int | None = json.loads(told.replace("None", "null"))
    return found


def measured(
    task: str, optimizer: str, device: str, widths: Sequence[int], rounds: int, seconds: float
) -> dict[str, Any]:
    """All of them, of one model and optimizer."""
    workload = TASKS[task].workload(optimizer, MOST_STEPS, device)
    support = support_of(workload, SEED)
    assert not support.reason, support.reason
    return {
        "task": task, "optimizer": optimizer, **rates(workload, support, widths, rounds, seconds),
        "auto": fastest_width(workload, [SEED] * max(widths), support), **agreement(task, optimizer, device),
        "row_bytes": support.row_bytes, "added_bytes": added_apart(task, optimizer, device),
    }  # fmt: skip
