"""A range test of a model of your own, with validation, and its picture.

Run it as `python examples/range_test.py [PICTURE]`; PICTURE ends in .png, .svg or .pdf, and is range_test.png by default.
"""

import sys

import torch

import lr_search as lrs


def loss(model, batch):
    inputs, classes = batch
    return torch.nn.functional.cross_entropy(model(inputs), classes)


torch.manual_seed(0)
x = torch.randn(1280, 20)
data = torch.utils.data.TensorDataset(x, (x @ torch.randn(20, 5)).argmax(1))
train = torch.utils.data.DataLoader(torch.utils.data.Subset(data, range(1024)), batch_size=64, shuffle=True)
valid = torch.utils.data.DataLoader(torch.utils.data.Subset(data, range(1024, 1280)), batch_size=128)
model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5))
optimizer = torch.optim.Adam(model.parameters())

curve = lrs.range_test(model, optimizer, train, loss, valid_data=valid, extend=True)
print(curve.suggest())
print("bounds for cycles: {:.2g} to {:.2g}".format(*curve.bounds()))
curve.plot(lr_against_step=True).figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "range_test.png")
