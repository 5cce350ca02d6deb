"""The LR of a GAN: two optimizers with a loss each, judged by how far its points lie from real ones. `python examples/gan.py [STEPS]`."""

import sys

import torch
from torch.nn import LeakyReLU, Linear, ModuleDict, ReLU, Sequential
from torch.nn.functional import softplus

import lr_search as lrs

draw, centres = torch.Generator().manual_seed(0), torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
points = centres[torch.randint(3, (2560,), generator=draw)] + 0.2 * torch.randn(2560, 2, generator=draw)
steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300


def gan():
    discriminator = Sequential(Linear(2, 32), LeakyReLU(0.2), Linear(32, 1))
    return ModuleDict({"d": discriminator, "g": Sequential(Linear(2, 32), ReLU(), Linear(32, 2))})


def adams(model, lr):  # the generator trains at half the LR of the discriminator
    own_lrs = {"d": lr, "g": lr / 2}
    return [torch.optim.Adam(model[part].parameters(), own, betas=(0.5, 0.999)) for part, own in own_lrs.items()]


def discriminator_loss(model, real):
    return (softplus(-model["d"](real)) + softplus(model["d"](model["g"](torch.randn_like(real)).detach()))).mean()


def generator_loss(model, real):
    return softplus(-model["d"](model["g"](torch.randn_like(real)))).mean()


def distance(model, real):  # the energy distance: 0 where both are drawn from the same distribution
    fake = model["g"](torch.randn_like(real))
    between, fakes, reals = (torch.cdist(*pair).mean() for pair in ((fake, real), (fake, fake), (real, real)))
    return {"distance": 2 * between - fakes - reals}


losses, train, valid = [discriminator_loss, generator_loss], list(points[:2048].split(64)), [points[2048:]]
workload = lrs.Workload(gan, adams, losses, train, valid, metrics=distance, objective="distance", num_steps=steps)
comparison = lrs.compare(workload, schedules=["constant", "cosine"], budget=6, seeds=1, storage=None)
print(comparison.recommend())
