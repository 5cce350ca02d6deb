"""`train` and `compare` follow any schedule, a user's own as well: every loss is the one that the LRs give by formula."""

import numpy as np
import pytest

import lr_search as lrs
from lr_search.schedules import join
from tests.helpers.bowl import bowl, losses
from tests.helpers.schedule_cases import CASES, Harmonic

STEPS = 50


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.momenta is None])
def test_a_training_takes_the_lr_of_each_step_from_its_schedule(name: str) -> None:
    case = CASES[name]
    evaluations = list(lrs.train(bowl(num_steps=STEPS, eval_every=10), case.schedule, seed=3))
    expected = losses(case.schedule(np.arange(STEPS)), 3)
    found = [evaluation.metrics["loss"] for evaluation in evaluations]
    np.testing.assert_allclose(found, [expected[evaluation.step] for evaluation in evaluations], rtol=1e-4)
    ends = [evaluation.step for evaluation in evaluations if evaluation.end_of_cycle]
    assert ends == case.schedule.cycle_ends(STEPS)


def test_a_comparison_takes_a_user_s_schedule_as_a_function_of_the_peak() -> None:
    comparison = lrs.compare(
        bowl(),
        strategies={"mine": 0.02},
        schedules={"harmonic": Harmonic, "joined": lambda lr: join([Harmonic(lr), Harmonic(lr)], [12])},
        budget=1,
        seeds=1,
        storage=None,
    )
    trials = comparison.trials.set_index("schedule")["objective"]
    steps = np.arange(20)
    for name, counted in (("harmonic", steps), ("joined", np.where(steps < 12, steps, steps - 12))):
        expected = losses(0.02 / (1 + counted / 10), seed=0)[-1]
        assert trials[name] == pytest.approx(expected, rel=1e-4)
