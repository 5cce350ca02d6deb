"""Muon for matrices and AdamW for all else, in one optimizer.

References:
    Muon: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, https://kellerjordan.github.io/posts/muon.
    One LR for both: Liu et al., "Muon is Scalable for LLM Training", 2025, arXiv:2502.16982.
    AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, arXiv:1711.05101.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lr_search.kinds.checked import checked


class MuonAdamW(torch.optim.Optimizer):
    """Muon steps the parameters of two dimensions, AdamW all others, at one LR: torch's own both, of torch >= 2.9.

    Muon's steps are brought to the size of AdamW's, so that the LR and the weight decay of AdamW serve both (Liu et al., "Muon
    is Scalable for LLM Training", 2025, arXiv:2502.16982; in torch `adjust_lr_fn="match_rms_adamw"`).
    Parameters alone do not tell which matrix is an embedding or the output layer, which are commonly left to AdamW: give these
    a group of their own with `use_muon` False.

    Args:
        params: parameters, or groups of them, each with an LR, a weight decay and a `use_muon` of its own where wanted.
        lr: >= 0.
        weight_decay: decoupled from the gradient, >= 0.
        momentum: of Muon, >= 0.
        adamw_betas: of AdamW, each in [0, 1).
        use_muon: whether Muon steps a group's matrices; if not, AdamW steps the whole group.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        adamw_betas: tuple[float, float] = (0.9, 0.999),
        use_muon: bool = True,
    ) -> None:
        given = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "adamw_betas": adamw_betas}
        super().__init__(params, {**given, "use_muon": use_muon})
        self._make_parts()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._make_parts()  # a copy of an optimizer has its groups and states alone

    def _make_parts(self) -> None:
        lr, weight_decay = self.defaults["lr"], self.defaults["weight_decay"]
        muon = {"momentum": self.defaults["momentum"], "adjust_lr_fn": "match_rms_adamw"}
        betas = self.defaults["adamw_betas"]
        self._muon = torch.optim.Muon([{"params": []}], lr=lr, weight_decay=weight_decay, **muon)
        self._adamw = torch.optim.AdamW([{"params": []}], lr=lr, weight_decay=weight_decay, betas=betas)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure, if any, is called first, and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parts: tuple[Any, Any] = self._muon, self._adamw
        for part in parts:
            part.state = self.state
            part.param_groups = [self._share(part, group) for group in self.param_groups]
            part.step()
        return loss

    def _share(self, part: torch.optim.Optimizer, group: dict[str, Any]) -> dict[str, Any]:
        """What a part has of a group: its parameters, at the settings that the group has now."""
        of_muon = part is self._muon
        params = [param for param in group["params"] if (group["use_muon"] and param.ndim == 2) == of_muon]
        own = {"momentum": group["momentum"]} if of_muon else {"betas": group["adamw_betas"]}
        return {**part.defaults, "lr": group["lr"], "weight_decay": group["weight_decay"], **own, "params": params}


@checked
def muon_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups as is common practice with Muon: it steps the hidden matrices; AdamW embeddings, output layer and the rest.

    The output layer is taken to be the last `nn.Linear` among the model's modules.

    Args:
        model: such as a workload makes; `Workload(param_groups=muon_groups)` calls it.

    Returns:
        The group of the hidden matrices, and that of all else; one where there is no other.

    >>> model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 8), nn.Linear(8, 9))
    >>> [[tuple(param.shape) for param in group["params"]] for group in muon_groups(model)]
    [[(8, 4)], [(9, 4), (8,), (9, 8), (9,)]]
    """
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    outer = {id(module.weight) for module in (*embeddings, *linear[-1:])}
    hidden = [param for param in model.parameters() if param.ndim == 2 and id(param) not in outer]
    inside = {id(param) for param in hidden}
    rest = [param for param in model.parameters() if id(param) not in inside]
    groups = [{"params": hidden, "use_muon": True}, {"params": rest, "use_muon": False}]
    return [group for group in groups if group["params"]]
