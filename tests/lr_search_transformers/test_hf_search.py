"""lr_search's sampler within Trainer.hyperparameter_search."""

import optuna
import pytest

import lr_search as lrs
import lr_search_transformers
from tests.lr_search_transformers.tiny_trainers import tiny_trainer

pytestmark = pytest.mark.trainers


def test_the_sampler_proposes_the_learning_rates_of_a_hyperparameter_search(tmp_path):
    trainer = tiny_trainer(tmp_path, num_train_epochs=2, eval_strategy="epoch", save_strategy="no")
    prior = lrs.LRPrior.from_curves([lr_search_transformers.range_test(trainer)])
    sampler = lrs.samplers.RangeTestSampler(prior, param="learning_rate", seed=0)
    tried = []

    def hp_space(trial):
        tried.append(trial.suggest_float("learning_rate", prior.low, prior.high, log=True))
        return {"learning_rate": tried[-1]}

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = {"direction": "minimize", "compute_objective": lambda metrics: metrics["eval_loss"]}
    found = trainer.hyperparameter_search(hp_space, n_trials=3, backend="optuna", sampler=sampler, **settings)
    optuna.logging.set_verbosity(verbosity)
    assert tried[0] == pytest.approx(prior.mode)
    assert all(prior.low <= lr <= prior.high for lr in tried)
    assert len(set(tried)) == 3
    assert found.hyperparameters["learning_rate"] in tried
