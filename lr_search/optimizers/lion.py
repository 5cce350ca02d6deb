"""Lion: Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675.

The class needs torch alone: a recommendation hands it on as it stands here.

>>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
>>> weight.grad = torch.tensor([0.3, -40.0])
>>> Lion([weight], lr=0.25).step()
>>> weight.tolist()
[0.75, -1.75]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """Steps by the sign of a momentum: by the LR in every weight, whatever the gradient.

    w <- (1 - lr * weight_decay) * w - lr * sign(beta1 * m + (1 - beta1) * g),   then m <- beta2 * m + (1 - beta2) * g

    Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, arXiv:2302.06675, who take a third to a tenth of
    AdamW's LR, and 3 to 10 times its weight decay.

    Args:
        params: parameters, or groups of them.
        lr: >= 0.
        betas: (beta1, beta2), each in [0, 1).
        weight_decay: decoupled from the gradient, >= 0.
    """

    def __init__(
        self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        if not (lr >= 0 and weight_decay >= 0):
            raise ValueError(f"lr and weight_decay must be at least 0, but got {lr=}, {weight_decay=}.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), but got {betas=}.")
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure, if any, is called first, and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        params = [param for param in group["params"] if param.grad is not None]
        grads = [param.grad for param in params]
        if not params:
            return
        for param in params:
            if not self.state[param]:
                self.state[param]["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
        averages = [self.state[param]["exp_avg"] for param in params]
        beta1, beta2 = group["betas"]
        updates = torch._foreach_lerp(grads, averages, beta1)
        torch._foreach_sign_(updates)
        torch._foreach_mul_(updates, -group["lr"])
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, updates)
        torch._foreach_lerp_(averages, grads, 1 - beta2)
