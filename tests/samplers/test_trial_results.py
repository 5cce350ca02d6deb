"""What a sampler reads of a study: objectives, and what pruned trials would have come to."""

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from lr_search.samplers.trial_results import MANY_RESULTS, SAME_RESULTS, results_of

RANGE = FloatDistribution(1e-5, 10.0, log=True)


def trial(lr: float, value: float | None, reports: dict[int, float] | None = None, **others: float) -> FrozenTrial:
    """A complete trial, or a pruned one without a value."""
    return optuna.create_trial(
        params={"lr": lr, **others},
        distributions={"lr": RANGE, **dict.fromkeys(others, FloatDistribution(0, 1))},
        value=value,
        intermediate_values=reports or {},
        state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
    )


def study_of(*trials: FrozenTrial, direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    return study


@pytest.mark.parametrize("sign", [1, -1])
def test_a_pruned_trial_counts_as_the_worst_of_those_it_was_behind(sign: int) -> None:
    complete = [
        trial(1e-3, sign * 0.5, {10: sign * 0.9, 20: sign * 0.7}),
        trial(1e-2, sign * 0.3, {10: sign * 1.0, 20: sign * 0.6}),
        trial(1e-1, sign * 0.8, {10: sign * 1.2}),
    ]
    pruned = [
        trial(1e-4, None, {10: sign * 1.1}),  # behind the first two at step 10, ahead of the third
        trial(2e-4, None, {10: sign * 1.0, 20: sign * 0.65}),  # behind the second alone at step 20
        trial(3e-4, None, {10: sign * 0.1}),  # behind none
        trial(4e-4, None),
    ]
    found = results_of(study_of(*complete, *pruned, direction="minimize" if sign > 0 else "maximize"), "lr")
    assert found.values.tolist() == [0.5, 0.3, 0.8, 0.5, 0.3, math.inf, math.inf]
    np.testing.assert_allclose(10**found.places, [1e-3, 1e-2, 1e-1, 1e-4, 2e-4, 3e-4, 4e-4])
    assert not found.mixed


def test_running_trials_are_pending_and_failed_or_other_ones_nothing() -> None:
    study = study_of(trial(1e-3, 1.0), trial(1e-2, math.inf, width=0.5))
    study.ask().suggest_float("lr", 1e-5, 10.0, log=True)
    study.ask().suggest_float("eta", 1e-5, 10.0, log=True)
    failed = study.ask()
    failed.suggest_float("lr", 1e-5, 10.0, log=True)
    study.tell(failed, state=TrialState.FAIL)
    found = results_of(study, "lr")
    assert found.values.tolist() == [1.0, math.inf]
    assert found.pending.tolist() == [math.log10(study.trials[2].params["lr"])]
    assert found.mixed
    assert len(results_of(study, "lr", without=2).pending) == 0
    assert len(results_of(optuna.create_study(), "lr").places) == 0


def test_of_many_trials_the_best_of_each_neighbourhood_counts() -> None:
    places = np.random.default_rng(0).uniform(-5, 1, 1000)
    study = study_of(*(trial(10**place, (place + 2) ** 2) for place in places.tolist()))
    found = results_of(study, "lr")
    assert MANY_RESULTS < len(found.places) <= 6 / SAME_RESULTS + 1
    assert found.values.min() == pytest.approx(((places + 2) ** 2).min())
    np.testing.assert_allclose(found.values, (found.places + 2) ** 2)
    assert np.diff(np.sort(found.places)).max() < 4 * SAME_RESULTS
