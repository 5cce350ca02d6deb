"""Models and losses that keep what they need in other places than parameters and buffers, or in buffers that change their shape."""

import random
from collections import deque

import numpy as np
import torch
from torch import nn
from torch.ao.quantization import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
from torch.optim.swa_utils import AveragedModel


class Observed(nn.Module):
    """Two observers of quantisation-aware training: the buffers of one grow from shape (0)."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.by_channel, self.whole = MovingAveragePerChannelMinMaxObserver(), MovingAverageMinMaxObserver()

    def forward(self, inputs):
        self.by_channel(self.first.weight)
        return self.last(self.whole(self.first(inputs)))


class Resized(nn.Linear):
    """A buffer in the shape of the batch."""

    def __init__(self):
        super().__init__(6, 3)
        self.register_buffer("seen", torch.full((2, 6), 7.0))

    def forward(self, inputs):
        self.seen.resize_(inputs.shape).copy_(inputs)
        return super().forward(inputs)


class Recurrent(nn.Module):
    """The hidden state goes on from batch to batch, detached."""

    def __init__(self):
        super().__init__()
        self.cell, self.head, self.hidden = nn.GRU(6, 4), nn.Linear(4, 3), None

    def forward(self, inputs):
        outputs, hidden = self.cell(inputs[None, :4], self.hidden)
        self.hidden = hidden.detach()
        return self.head(outputs[0])


class Memory:
    """No module: what it keeps is kept in slots."""

    __slots__ = ("centre", "rows")

    def __init__(self):
        self.centre, self.rows = np.zeros(6), deque(maxlen=3)


class Attributes(nn.Linear):
    """Attributes of every kind, which a forward pass changes in place and anew."""

    def __init__(self):
        super().__init__(6, 3)
        self.calls, self.means, self.by_name = 0, [torch.zeros(6)], {"last": None}
        self.centre, self.memory, self.seen = torch.zeros(6), Memory(), set()
        self.generators = (torch.Generator().manual_seed(1), np.random.default_rng(1), random.Random(1))
        self.averaged = [AveragedModel(nn.Linear(6, 3))]  # in a list: none of the submodules

    def forward(self, inputs):
        self.calls += 1
        self.seen.add(self.calls)
        self.means.append(inputs.mean(0))
        self.means[0].add_(inputs.mean(0))
        self.by_name["last"] = self.calls
        self.centre = 0.9 * self.centre + 0.1 * inputs.mean(0)
        self.memory.centre += 1
        self.memory.rows.append(inputs[0])
        self.averaged[0].update_parameters(nn.Linear(6, 3))
        torch_generator, numpy_generator, python_generator = self.generators
        shift = torch.rand((), generator=torch_generator) + numpy_generator.random() + python_generator.random()
        self.appeared = shift
        return super().forward(inputs + 0.01 * shift)


class Centred(nn.Module):
    """A loss with a running centre of its own, as in self-distillation."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))
        self.calls = 0

    def forward(self, outputs, classes):
        self.calls += 1
        self.centre = 0.9 * self.centre + 0.1 * outputs.detach().mean(0)
        return nn.functional.cross_entropy(outputs - self.centre, classes)


MODELS = {"observers": Observed, "resized": Resized, "recurrent": Recurrent, "attributes": Attributes}


def first_four(model, batch):
    """Cross-entropy of four examples: the recurrent model takes no more."""
    return nn.functional.cross_entropy(model(batch[0])[:4], batch[1][:4])
