"""Optimizers that keep what they need in other places than `state`: in attributes, and in an optimizer of their own."""

import torch


class Lookahead(torch.optim.Optimizer):
    """Steps with another optimizer, and every few steps goes part of the way from slow weights to where it has come.

    Michael Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", 2019, arXiv:1907.08610.
    """

    def __init__(self, inner, every=3):
        self.inner, self.every, self.taken = inner, every, 0
        super().__init__(inner.param_groups, inner.defaults)
        self.param_groups, self.state = inner.param_groups, inner.state
        self.slow = [[p.detach().clone() for p in group["params"]] for group in self.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        self.inner.step()
        self.taken += 1
        if self.taken % self.every == 0:
            for group, slow_weights in zip(self.param_groups, self.slow, strict=True):
                for parameter, slow in zip(group["params"], slow_weights, strict=True):
                    slow.lerp_(parameter, 0.5)
                    parameter.copy_(slow)


class OwnMomentum(torch.optim.Optimizer):
    """Keeps its momentum in a plain list, and the norm it last saw in a number."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.momenta, self.norm = None, 1.0

    @torch.no_grad()
    def step(self, closure=None):
        held = [(group["lr"], p) for group in self.param_groups for p in group["params"]]
        self.momenta = self.momenta or [torch.zeros_like(p) for _, p in held]
        self.norm = 0.9 * self.norm + 0.1 * float(torch.stack([p.grad.norm() for _, p in held]).norm())
        for (lr, parameter), momentum in zip(held, self.momenta, strict=True):
            momentum.mul_(0.9).add_(parameter.grad / self.norm)
            parameter.data.add_(momentum, alpha=-lr)


class Sharpened(torch.optim.Optimizer):
    """Climbs a little along the last gradient before every step, and back: the climb is kept in an attribute."""

    def __init__(self, inner, rho=0.05):
        self.base_optimizer, self.rho, self.climbs = inner, rho, {}
        super().__init__(inner.param_groups, inner.defaults)
        self.param_groups = inner.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        for parameter, climb in self.climbs.items():
            parameter.sub_(climb)
        self.base_optimizer.step()
        for group in self.param_groups:
            for parameter in group["params"]:
                self.climbs[parameter] = self.rho * parameter.grad / (parameter.grad.norm() + 1e-12)
                parameter.add_(self.climbs[parameter])


class SAM(torch.optim.Optimizer):
    """Climbs along the gradient, takes it there with the closure, goes back and steps: as in its most used implementation.

    Pierre Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", 2021, arXiv:2010.01412.
    """

    def __init__(self, params, lr, rho=0.05, momentum=0.9):
        super().__init__(params, {"rho": rho, "lr": lr, "momentum": momentum})
        self.base_optimizer = torch.optim.SGD(self.param_groups, lr=lr, momentum=momentum)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "SAM requires closure, but it was not provided"
        closure = torch.enable_grad()(closure)
        held = [(group["rho"], p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for _, p in held]).norm()
        for rho, parameter in held:
            self.state[parameter]["old"] = parameter.data.clone()
            parameter.add_(rho * parameter.grad / (norm + 1e-12))
        self.zero_grad()
        closure()
        for _, parameter in held:
            parameter.data = self.state[parameter]["old"]
        self.base_optimizer.step()


WRAPPERS = {
    "lookahead": lambda params, lr=0.05: Lookahead(torch.optim.SGD(params, lr=lr, momentum=0.9)),
    "lookahead of Adam": lambda params, lr=0.01: Lookahead(torch.optim.Adam(params, lr=lr)),
    "own momentum": lambda params, lr=0.05: OwnMomentum(params, lr),
    "sharpened": lambda params, lr=0.05: Sharpened(torch.optim.SGD(params, lr=lr, momentum=0.9)),
}
