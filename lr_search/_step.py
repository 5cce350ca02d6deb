"""One optimizer step: forward, backward, clipping and the update, without waiting for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import nn

from lr_search._data import tensors
from lr_search.errors import WorkloadError, require
from lr_search.optim import group_ratios, preserved_rng, set_lr, set_momentum, trainable

Precision = Literal["fp32", "bf16", "fp16"]
Loss = Callable[[nn.Module, Any], torch.Tensor]

DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """The autocast context of a precision; does nothing for fp32."""
    dtype = DTYPES[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def checked_loss(loss: Any, training: bool = True) -> torch.Tensor:
    """The loss, if it is a scalar tensor that the parameters move."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        came = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise WorkloadError(
            f"loss(model, batch) must return a scalar tensor, but got {came}. "
            "Reduce it with .mean(), and return no float."
        )
    if training and not loss.requires_grad:
        raise WorkloadError(
            "loss(model, batch) must depend on the model's parameters, but its result needs no gradient. "
            "Call the model inside the loss, without torch.no_grad() or .detach(), on parameters that need gradients."
        )
    return loss


class Stepper:
    """Steps one model with one optimizer.

    Args:
        model: the module that is trained.
        optimizer: its optimizer; each group's LR is the step's LR times its ratio to the first group's.
        loss: (model, batch) -> scalar tensor.
        accumulate: batches a step, >= 1.
        clip_norm: the largest norm of all gradients together, > 0, or None.
        precision: fp32, or bf16 / fp16 under autocast (fp16 with a GradScaler).
        scaler: a GradScaler of the user's own, in place of the one made for fp16.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        device: torch.device,
        *,
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: Precision = "fp32",
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        require(accumulate >= 1, "accumulate must be at least 1 batch a step", accumulate=accumulate)
        require(clip_norm is None or clip_norm > 0, "clip_norm must be positive, or None", clip_norm=clip_norm)
        require(precision in DTYPES, "precision must be fp32, bf16 or fp16", precision=precision)
        self.model, self.optimizer, self.device = model, optimizer, device
        self.scaler = torch.amp.GradScaler(device.type) if scaler is None and precision == "fp16" else scaler
        self._loss, self._accumulate, self._clip_norm, self._precision = loss, accumulate, clip_norm, precision
        self._ratios = group_ratios(optimizer)
        self._failed: list[Any] = []  # the batches of a step that raised

    def step(self, batches: Iterator[Any], lr: float, momentum: float | None = None) -> torch.Tensor:
        """Take one step at `lr`. Returns: the loss before it, detached, still on the device."""
        set_lr(self.optimizer, lr, self._ratios)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
        drawn = [next(batches) for _ in range(self._accumulate)]
        try:
            return self._update(drawn)
        except Exception:
            self._failed = drawn
            raise

    def _update(self, drawn: list[Any]) -> torch.Tensor:
        if isinstance(self.optimizer, torch.optim.LBFGS):  # it evaluates the loss itself, several times a step
            loss: torch.Tensor = self.optimizer.step(lambda: self._backward(drawn))  # type: ignore[no-untyped-call]
            return loss.detach()
        loss = self._backward(drawn)
        if self.scaler is None:
            self._clip()
            self.optimizer.step()
        else:
            self.scaler.unscale_(self.optimizer)
            self._clip()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss

    def _backward(self, drawn: list[Any]) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        total: torch.Tensor | None = None
        for batch in drawn:
            with autocast(self.device, self._precision):
                loss = checked_loss(self._loss(self.model, batch))
            loss = loss.reshape(()) / len(drawn) if len(drawn) > 1 else loss.reshape(())
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _clip(self) -> None:
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(trainable(self.optimizer.param_groups), self._clip_norm)

    def is_finite(self, batches: Iterator[Any] | None = None) -> bool:
        """Whether every weight is finite, and every module's output on the batches of a step that raised.

        The loss is computed again to see: it may have refused a non-finite output before it was a loss.

        Args:
            batches: look at the next of these instead.
        """
        looked_at = self._failed if batches is None else [next(batches)]
        with torch.no_grad():
            checks = [parameter.isfinite().all() for parameter in self.model.parameters()]
            checks += self._outputs_finite(looked_at) if looked_at else []
            return bool(torch.stack([check.to(self.device) for check in checks]).all())

    def _outputs_finite(self, batches: list[Any]) -> list[torch.Tensor]:
        """Whether each module's outputs are finite, as far as the loss gets; -inf is let pass: masks are made of it."""
        checks: list[torch.Tensor] = []

        def check(module: nn.Module, args: Any, output: Any) -> None:
            floats = (tensor for tensor in tensors(output) if tensor.is_floating_point())
            checks.extend((tensor < float("inf")).all() for tensor in floats)  # false for nan as well

        hooks = [module.register_forward_hook(check) for module in self.model.modules()]
        try:
            with preserved_rng(self.device), autocast(self.device, self._precision):
                for batch in batches:
                    with contextlib.suppress(Exception):
                        self._loss(self.model, batch)
        finally:
            for hook in hooks:
                hook.remove()
        return checks
