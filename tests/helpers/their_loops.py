"""Loops as they are found in scripts, with what lr_search needs (marked `# lrs`): a GAN, and PPO with an environment by hand."""

from __future__ import annotations

import torch
from torch import nn

import lr_search as lrs


def gan(run: lrs.TrainingRun) -> None:
    """Two optimizers: a generator of points on a circle against a discriminator; judged by the mean distance of its radius from 1."""
    generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizers = [
        torch.optim.Adam(each.parameters(), lr=lr, betas=(0.5, 0.99))
        for each, lr in ((generator, 1e-4), (critic, 4e-4))
    ]
    scheduler = run.attach(optimizers)  # lrs
    yes, no = torch.ones(64, 1), torch.zeros(64, 1)
    bce = nn.functional.binary_cross_entropy_with_logits
    for _ in range(run.num_steps):
        real = nn.functional.normalize(torch.randn(64, 2))
        fake = generator(torch.randn(64, 4))
        critic_loss = bce(critic(real), yes) + bce(critic(fake.detach()), no)
        optimizers[1].zero_grad()
        critic_loss.backward()
        optimizers[1].step()
        generator_loss = bce(critic(fake), yes)
        optimizers[0].zero_grad()
        generator_loss.backward()
        optimizers[0].step()
        scheduler.step()  # lrs
        run.loss(generator_loss + critic_loss)  # lrs
        run.report(off=lambda: (generator(torch.randn(512, 4)).norm(dim=1) - 1).abs().mean())  # lrs


class Track:
    """32 carts on a line, each pushed left or right, that are to be at 0: the reward is minus the distance."""

    def __init__(self) -> None:
        self.state = torch.stack([torch.rand(32) * 2 - 1, torch.zeros(32)], dim=1)

    def step(self, action: torch.Tensor) -> torch.Tensor:
        place, speed = self.state.unbind(1)
        speed = 0.9 * speed + 0.1 * (2 * action - 1)
        self.state = torch.stack([place + 0.2 * speed, speed], dim=1)
        return -self.state[:, 0].abs()


def rollout(policy: nn.Module, length: int = 20) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, actions, their log-probabilities and the rewards, (length, carts)."""
    track, seen = Track(), []
    with torch.no_grad():
        for _ in range(length):
            state = track.state
            chosen = torch.distributions.Categorical(logits=policy(state)[:, :2])
            action = chosen.sample()
            seen.append((state, action, chosen.log_prob(action), track.step(action)))
    states, actions, log_probs, rewards = zip(*seen, strict=True)
    return torch.stack(states), torch.stack(actions), torch.stack(log_probs), torch.stack(rewards)


def ppo(run: lrs.TrainingRun) -> None:
    """Proximal policy optimization: four steps on each rollout of the present policy; judged by the mean return."""
    policy = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)
    scheduler = run.attach(optimizer)  # lrs
    while not run.done:
        states, actions, before, rewards = rollout(policy)
        returns = rewards.flip(0).cumsum(0).flip(0)
        for _ in range(4):
            out = policy(states)
            ratio = (torch.distributions.Categorical(logits=out[..., :2]).log_prob(actions) - before).exp()
            gain = returns - out[..., 2].detach()
            gain = (gain - gain.mean()) / (gain.std() + 1e-6)
            clipped = torch.minimum(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
            loss = 0.5 * (out[..., 2] - returns).square().mean() - clipped
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()
            scheduler.step()  # lrs
            run.loss(loss)  # lrs
            run.report(mean_return=lambda: rollout(policy)[3].sum(0).mean())  # lrs
            if run.done:
                break
