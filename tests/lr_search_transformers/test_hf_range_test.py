"""The range test of a Trainer: the losses of its own training, and nothing of it changed."""

import copy

import pytest
import torch
from transformers import Trainer, TrainerCallback
from transformers.utils import logging

import lr_search_transformers
from lr_search.errors import InvalidInputError
from tests.lr_search_transformers.tiny_trainers import make_bert, tiny_trainer

pytestmark = pytest.mark.trainers


class Weighted(Trainer):
    """A loss of the user's own, that takes the labels out of the batch, as the Trainer's label smoothing does."""

    def __init__(self, *args, weight=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.weight = weight

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = self.weight * torch.nn.functional.cross_entropy(outputs.logits, labels)
        return (loss, outputs) if return_outputs else loss


CASES = {
    "classifier": {},
    "language model, accumulated": {"gpt": True, "gradient_accumulation_steps": 3},
    "label smoothing, accumulated": {"label_smoothing_factor": 0.1, "gradient_accumulation_steps": 3},
    "a loss of one's own": {"kind": Weighted, "made_with": {"weight": 2.0}, "gradient_accumulation_steps": 2},
    "bf16": {"bf16": True},
}


@pytest.mark.parametrize("case", CASES)
def test_the_losses_are_those_of_the_trainers_own_steps(case, tmp_path):
    settings = CASES[case]
    arguments = {"lr_scheduler_type": "constant", "learning_rate": 1e-9, "max_steps": 20, "logging_steps": 1}
    trainer = tiny_trainer(tmp_path, **settings, **arguments)
    curve = lr_search_transformers.range_test(trainer, start_lr=1e-9, end_lr=1.1e-9, num_steps=20, gain_ratio=False)
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    steps = 10 // settings.get("gradient_accumulation_steps", 1)  # whole ones of the first epoch
    assert curve.loss[:steps].tolist() == pytest.approx(logged[:steps], rel=2e-3 if case == "bf16" else 1e-5)


def test_gain_ratios_are_measured_and_the_suggestion_is_for_the_trainers_own_plan(tmp_path):
    trainer = tiny_trainer(tmp_path, num_train_epochs=10, lr_scheduler_type="cosine", weight_decay=0.1)
    curve = lr_search_transformers.range_test(trainer)
    assert (curve.plan.num_steps, curve.plan.schedule) == (100, "cosine")
    assert (curve.plan.batch_size, curve.plan.examples, curve.plan.steps_per_epoch) == (8, 77, 10)
    ratios = curve.gain_ratio[torch.tensor(curve.gain_ratio).isfinite().numpy()]
    assert ratios[0] == pytest.approx(1, abs=0.1)
    assert 1e-5 < curve.suggest().lr < 1
    assert len(curve.suggest().group_lrs) == 2  # with and without weight decay
    trainer.train()
    assert trainer.state.max_steps == curve.plan.num_steps


def test_the_trainer_is_as_it_was_and_nothing_is_called_or_written(tmp_path, global_rng):
    events = []

    class Listens(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            events.append("step")

        def on_log(self, args, state, control, **kwargs):
            events.append("log")

    trainer = tiny_trainer(tmp_path / "out", made_with={"callbacks": [Listens()]})
    trainer.model.eval()
    weights, names = copy.deepcopy(trainer.model.state_dict()), dict(vars(trainer))
    walked = trainer.accelerator.gradient_state.dataloader_references
    rng, verbosity = global_rng(), logging.get_verbosity()
    lr_search_transformers.range_test(trainer, num_steps=20)
    assert trainer.optimizer is None
    assert trainer.lr_scheduler is None
    assert vars(trainer) == names
    assert not trainer.model.training
    assert all(torch.equal(value, weights[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.accelerator._dataloaders == []
    assert trainer.accelerator.gradient_state.dataloader_references == walked
    assert (global_rng(), logging.get_verbosity()) == (rng, verbosity)
    assert events == []
    assert list((tmp_path / "out").iterdir()) == []
    trainer.train()
    expected = tiny_trainer(tmp_path / "other")
    expected.train()
    assert trainer.evaluate()["eval_loss"] == expected.evaluate()["eval_loss"]


def test_it_is_as_it_was_after_an_exception_too(tmp_path):
    class Breaks(Weighted):
        def compute_loss(self, model, inputs, **kwargs):
            if self.left == 0:
                raise OSError("the disk was away")
            self.left -= 1
            return super().compute_loss(model, inputs, **kwargs)

    trainer = tiny_trainer(tmp_path, kind=Breaks)
    trainer.left = 12
    weights = copy.deepcopy(trainer.model.state_dict())
    with pytest.raises(OSError, match="the disk was away"):
        lr_search_transformers.range_test(trainer, num_steps=20)
    assert all(torch.equal(value, weights[name]) for name, value in trainer.model.state_dict().items())
    assert trainer.optimizer is None


def test_with_a_model_and_an_optimizer_of_ones_own(tmp_path):
    model = make_bert()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = {"model": model, "model_init": None, "optimizers": (optimizer, None)}
    trainer = tiny_trainer(tmp_path, made_with=made)
    curve = lr_search_transformers.range_test(trainer, num_steps=20, end_lr=1.0)
    assert curve.lr[-1] == pytest.approx(1.0)
    assert trainer.optimizer is optimizer
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_what_the_trainer_has_is_not_asked_for_twice(tmp_path):
    with pytest.raises(InvalidInputError, match="takes accumulate, clip_norm from the Trainer"):
        lr_search_transformers.range_test(tiny_trainer(tmp_path), accumulate=2, clip_norm=1.0)


def test_a_trainer_that_cannot_be_searched_is_refused_with_what_to_do(tmp_path):
    trainer = tiny_trainer(tmp_path, num_train_epochs=1)
    with pytest.raises(InvalidInputError, match=r"trainer must be a transformers\.trainer\.Trainer"):
        lr_search_transformers.range_test(trainer.model)
    trainer.train()
    with pytest.raises(InvalidInputError, match=r"must not have trained yet.*global_step=10.*Make a new Trainer"):
        lr_search_transformers.range_test(trainer)
    with pytest.raises(InvalidInputError, match=r"must have a train_dataset.*train_dataset=None"):
        lr_search_transformers.range_test(tiny_trainer(tmp_path, made_with={"train_dataset": None}))


@pytest.mark.parametrize(("flag", "word"), [("is_deepspeed_enabled", "DeepSpeed"), ("is_fsdp_enabled", "FSDP")])
def test_what_shards_a_model_is_refused(flag, word, tmp_path):
    trainer = tiny_trainer(tmp_path)
    setattr(trainer, flag, True)  # as the constructor does, on machines that have it
    with pytest.raises(InvalidInputError, match=f"without DeepSpeed and FSDP.*got '{word}'"):
        lr_search_transformers.range_test(trainer)
