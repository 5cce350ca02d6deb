"""Optimizers as other packages write them, each with a step that mixes the elements of a model or is not linear in the LR."""

import torch


class Plain(torch.optim.Optimizer):
    """Walks over the parameters; `way` says how far each goes."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(self.way(parameter, group["lr"]))


class Lars(Plain):
    """Each tensor by its own norm."""

    def way(self, parameter, lr):
        return lr * parameter.grad * parameter.norm() / (parameter.grad.norm() + 1e-8)


class GlobalNorm(Plain):
    """All tensors by the norm of all gradients."""

    def step(self, closure=None):
        held = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.norm = torch.cat([gradient.reshape(-1) for gradient in held]).norm()
        super().step()

    def way(self, parameter, lr):
        return lr * parameter.grad / (1 + self.norm)


class SignOfLR(Plain):
    """Looks one step ahead."""

    def way(self, parameter, lr):
        return lr * torch.sign(parameter.grad - lr * parameter)


class Lookahead(torch.optim.SGD):
    """Every fifth step goes back half the way to the weights of five steps ago."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.count = 0

    @torch.no_grad()
    def step(self, closure=None):
        held = [parameter for group in self.param_groups for parameter in group["params"]]
        if not self.count:
            self.slow = [parameter.detach().clone() for parameter in held]
        super().step()
        self.count += 1
        if self.count % 5 == 0:
            for parameter, slow in zip(held, self.slow, strict=True):
                parameter.copy_(slow.lerp_(parameter, 0.5))
