"""What docs/ray.md prints works as printed, on a machine without GPUs."""

import sys
from pathlib import Path

import pytest

from tests.test_readme import printed_with, run

pytestmark = pytest.mark.ray

BEFORE = """
import optuna, torch
import lr_search as lrs
x = torch.randn(256, 4)
workload = lrs.classification(
    model=lambda: torch.nn.Linear(4, 2), optimizer=torch.optim.SGD, train=(x[:192], (x[:192, 0] > 0).long()),
    valid=(x[192:], (x[192:, 0] > 0).long()), batch_size=32, num_steps=150, eval_every=30,
)
prior, study = lrs.LRPrior.around(0.1), optuna.create_study(pruner=optuna.pruners.MedianPruner())
"""


def test_a_comparison_on_ray_and_the_winner_s_weights(tmp_path: Path) -> None:
    block = printed_with("RayExecutor(resources_per_trial").replace(
        '"cpu": 2, "gpu": 0.5}', '"cpu": 1}, max_concurrent_trials=1'
    )
    block = block.replace('name="on_ray"', 'name="on_ray", budget=2, seeds=1')
    told = run([sys.executable, "-c", BEFORE + block + "\nprint(model, len(comparison.trials))"], tmp_path)
    assert "Linear(in_features=4, out_features=2" in told
    assert (tmp_path / "lr_search.db").exists()


def test_a_tuner_of_ones_own(tmp_path: Path) -> None:
    block = printed_with("StudySearcher(study, space").replace("max_concurrent_trials=4", "max_concurrent_trials=1")
    block = block.replace(
        "num_samples=20, reuse_actors=True", "num_samples=2, reuse_actors=True, max_concurrent_trials=1"
    )
    block = block.replace("num_samples=20", "num_samples=2")
    after = "\nprint([trial.state.name for trial in study.trials])"
    told = run([sys.executable, "-c", BEFORE + block + after], tmp_path)
    states = told.strip().splitlines()[-1]
    assert states.count("COMPLETE") + states.count("PRUNED") == 2
