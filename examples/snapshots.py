"""One cyclic training, three answers: its last model, its last models together, and their mean weights.

Run it as `python examples/snapshots.py [STEPS]`; STEPS is the length of the training, 600 by default.
"""

import sys
from dataclasses import replace

import torch

import lr_search as lrs
from lr_search.demo import workload

torch.set_num_threads(1)  # so small a network gains nothing from more

digits = replace(workload(), num_steps=int(sys.argv[1]) if len(sys.argv) > 1 else 600)
schedule = lrs.schedules.SGDR(base_lr=0.0, max_lr=0.05, T_0=digits.num_steps / 6)
training = lrs.train(digits, schedule, snapshots=6)
print("single model:  loss {loss:.4f}, accuracy {accuracy:.4f}".format(**list(training)[-1].metrics))
for m in range(1, len(training.snapshots) + 1):
    together = training.evaluate(lrs.SnapshotEnsemble(digits, training.snapshots, last=m))
    averaged = training.evaluate(lrs.average_weights(digits, training.snapshots, last=m))
    print(f"last {m} together: {together['loss']:.4f}, {together['accuracy']:.4f};", end="   ")
    print(f"their mean weights: {averaged['loss']:.4f}, {averaged['accuracy']:.4f}")
