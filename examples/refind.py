"""Cycles whose peak is found again by a range test at each cycle's end, beside cycles that keep theirs.

Run it as `python examples/refind.py [STEPS] [PEAK]`; STEPS is the length of a training, 600 by default, PEAK the first
cycle's peak LR, 0.1 by default.
"""

import sys
from dataclasses import replace

import torch

import lr_search as lrs
from lr_search.demo import workload

torch.set_num_threads(1)  # so small a network gains nothing from more

digits = replace(workload(), num_steps=int(sys.argv[1]) if len(sys.argv) > 1 else 600)
peak = float(sys.argv[2]) if len(sys.argv) > 2 else 0.1
for name in ("triangular", "refind"):
    training = lrs.train(digits, lrs.schedules.by_name(name, lr=peak, num_steps=digits.num_steps))
    print(f"{name}:")
    for evaluation in training:
        print(f"  after {evaluation.step:4} steps: loss {evaluation.metrics['loss']:.4f}", end="")
        print(f"; next: {training.schedule.base_lr:.3g} to {training.schedule.max_lr:.3g}" * (training.stopped is None))
    print(f"  charged: {training.steps_charged} steps, {training.reason}")

# the same question without changing anything: how does the usable range move?
moved = lrs.refind(digits, lrs.schedules.by_name("triangular", lr=peak, num_steps=digits.num_steps)).to_frame()
print(moved[["step", "suggestion", "status", "half_gain_lr", "edge_lr"]].round(4).to_string(index=False))
