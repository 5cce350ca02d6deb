"""The learning rate of a Transformers Trainer: a range test, then linear against cosine, on a tiny BERT from scratch."""

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import lr_search_transformers


def make_model():
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    return BertForSequenceClassification(BertConfig(vocab_size=40, **sizes))


def sentences(count, seed):
    words = torch.randint(40, (count, 8), generator=torch.Generator().manual_seed(seed))
    labels = (words < 20).sum(1) > 4  # is more than half of the words below 20?
    return [{"input_ids": ids, "labels": label} for ids, label in zip(words, labels.long(), strict=True)]


args = TrainingArguments("trainer_output", num_train_epochs=3, per_device_train_batch_size=16, report_to="none")
trainer = Trainer(model_init=make_model, args=args, train_dataset=sentences(512, 0), eval_dataset=sentences(256, 1))

print(lr_search_transformers.range_test(trainer).suggest())
comparison = lr_search_transformers.compare(
    trainer, schedules=["linear", "cosine"], strategies=["range_test"], budget=4, seeds=1
)
best = lr_search_transformers.best(comparison)
print(best.recommendation)
print(best.training_arguments())  # TrainingArguments(..., **best.training_arguments())
