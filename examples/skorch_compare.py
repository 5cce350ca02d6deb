"""A skorch net: a range test and a schedule within its fit, and a comparison of two strategies and two schedules."""

import torch
from skorch import NeuralNetClassifier

import lr_search as lrs
from lr_search_skorch import RangeTest, Schedule

x = torch.randn(1280, 20)
y = (x @ torch.randn(20, 3) + 0.5 * torch.randn(1280, 3)).argmax(1)


def fit(*callbacks):
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3))
    settings = {"optimizer": torch.optim.AdamW, "batch_size": 64, "max_epochs": 8, "iterator_train__shuffle": True}
    net = NeuralNetClassifier(
        model, criterion=torch.nn.CrossEntropyLoss, callbacks=list(callbacks), verbose=0, **settings
    )
    return net.fit(x, y)


@lrs.trainable(num_steps=8 * 16, eval_every=16, objective="valid_loss")  # 16 batches of the 80% that the net trains on
def train(run):
    fit(Schedule(run=run))


range_test = RangeTest(schedule="cosine")
net = fit(range_test, Schedule("cosine"))
print(range_test.curve_, net.history[-1, "valid_loss"], sep="\n")
print(lrs.compare(train, strategies=["random", "range_test"], schedules=["constant", "cosine"], budget=4, storage=None))
