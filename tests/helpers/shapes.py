"""Tiny workloads of other shapes than one optimizer of all parameters on given data: a GAN, PPO, an optimizer of the model's own."""

import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional

import lr_search as lrs

RATIO = 0.5  # of the generator's LR to the discriminator's


class GAN(nn.Module):
    """On points of the plane."""

    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1))


def _judged(model, points, real):
    logits = model.discriminator(points)
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, real))


def discriminator_loss(model, points):
    made = model.generator(torch.randn(len(points), 2)).detach()
    return _judged(model, points, 1.0) + _judged(model, made, 0.0)


def generator_loss(model, points):
    return _judged(model, model.generator(torch.randn(len(points), 2)), 1.0)


def gan_optimizers(model, lr):
    return [
        torch.optim.Adam(model.discriminator.parameters(), lr, betas=(0.5, 0.99)),
        torch.optim.SGD(model.generator.parameters(), RATIO * lr, momentum=0.9),
    ]


def points():
    return list((torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + 1).split(8))


def gan_workload(**changes):
    settings = {
        "model": GAN, "optimizer": gan_optimizers, "loss": [discriminator_loss, generator_loss],
        "train_data": points, "valid_data": points, "num_steps": 20, "eval_every": 10, "device": "cpu",
    }  # fmt: skip
    return lrs.Workload(**(settings | changes))


class Policy(nn.Module):
    """Of a cart on a line: where it is and how fast -> push left or right, and what is still to come."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.1))
        self.actions, self.value = nn.Linear(8, 2), nn.Linear(8, 1)

    def forward(self, seen):
        hidden = self.body(seen)
        return Categorical(logits=self.actions(hidden)), self.value(hidden).squeeze(-1)


def played(model, carts=8, steps=10):
    """Carts at random places that a policy pushes about; the reward is -|place|. Returns: (steps, carts) of each kind."""
    place, speed, told = 2 * torch.rand(carts) - 1, torch.zeros(carts), []
    for _ in range(steps):
        seen = torch.stack([place, speed], dim=1)
        chosen = model(seen)[0]
        action = chosen.sample()
        speed = 0.9 * speed + 0.1 * (2 * action - 1)
        place = place + speed
        told.append((seen, action, chosen.log_prob(action), -place.abs()))
    seen, action, log_prob, reward = (torch.stack(each) for each in zip(*told, strict=True))
    discounts = 0.9 ** torch.arange(steps)[:, None]
    to_come = (reward * discounts).flip(0).cumsum(0).flip(0) / discounts
    return {"seen": seen, "action": action, "log_prob": log_prob, "to_come": to_come}, reward


def rollouts(model):
    """Two epochs of minibatches of what the present policy does."""
    told = {name: each.flatten(0, 1) for name, each in played(model)[0].items()}
    for _ in range(2):
        for index in torch.randperm(80).split(32):
            yield {name: each[index] for name, each in told.items()}


def ppo_loss(model, batch):
    chosen, value = model(batch["seen"])
    advantage = (batch["to_come"] - value).detach()
    ratio = (chosen.log_prob(batch["action"]) - batch["log_prob"]).exp()
    gain = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
    return (value - batch["to_come"]).square().mean() - gain


def returns(model):
    return [played(model)[1].sum(dim=0)]


def as_they_are(model, batch):
    return {"return": batch}


def ppo_workload(**changes):
    settings = {
        "model": Policy, "optimizer": torch.optim.Adam, "loss": ppo_loss, "train_data": rollouts, "valid_data": returns,
        "metrics": as_they_are, "objective": "return", "direction": "maximize", "num_steps": 20, "eval_every": 10, "device": "cpu",
    }  # fmt: skip
    return lrs.Workload(**(settings | changes))


class Tokens(nn.Module):
    """A next token of the one before, with nanoGPT's own way to an optimizer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.norm, self.head = nn.Embedding(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, tokens):
        return self.head(self.norm(self.embedding(tokens)))

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        decayed = [each for each in self.parameters() if each.dim() >= 2]
        others = [each for each in self.parameters() if each.dim() < 2]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)


def configured(model, lr):
    return model.configure_optimizers(0.1, lr, (0.9, 0.95), "cpu")


def sentences():
    return list(torch.randint(0, 8, (40, 5), generator=torch.Generator().manual_seed(0)).split(8))


def next_token_loss(model, tokens):
    return functional.cross_entropy(model(tokens).flatten(0, 1), ((3 * tokens + 1) % 8).flatten())


def tokens_workload(**changes):
    settings = {
        "model": Tokens, "optimizer": configured, "loss": next_token_loss, "train_data": sentences, "valid_data": sentences,
        "num_steps": 20, "eval_every": 10, "device": "cpu",
    }  # fmt: skip
    return lrs.Workload(**(settings | changes))


SHAPES = {"gan": gan_workload, "ppo": ppo_workload, "tokens": tokens_workload}
