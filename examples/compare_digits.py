"""The demo in Python: which learning rate and schedule for a small network on handwritten digits.

Run it as `python examples/compare_digits.py [BUDGET]`; BUDGET is in full trainings a study, 8 by default.
"""

import sys

import torch

import lr_search as lrs
from lr_search.demo import workload

torch.set_num_threads(1)  # so small a network gains nothing from more

comparison = lrs.compare(
    workload(),
    strategies={"grid": "grid", "random": "random", "range_test": "range_test", "0.01, as ever": 0.01},
    schedules=["constant", "triangular2", "sgdr"],
    budget=float(sys.argv[1]) if len(sys.argv) > 1 else 8,
    seeds=2,
    storage="sqlite:///compare_digits.db",
    name="digits",
)
print(comparison.summary().to_string())
print(comparison.recommend())
print(f"The report is in {comparison.save('compare_digits_report')}")
