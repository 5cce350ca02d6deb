"""One optimizer step: forward, backward, clipping and the update, without waiting for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from lr_search.errors import WorkloadError, require, user_code
from lr_search.optimizers.closures import closure_lacking, gradient_comes_first, takes_closure
from lr_search.optimizers.modes import Modes
from lr_search.optimizers.param_groups import Optimizers, as_list, group_ratios, held_tensors, set_lr, set_momentum
from lr_search.rng import preserved_rng
from lr_search.state.sharding import in_one_piece
from lr_search.workloads.batches import tensors
from lr_search.workloads.optimizer_forms import losses_of
from lr_search.workloads.parts import DTYPES, Loss, Precision, require_accumulate
from lr_search.workloads.workload import Workload


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[Any]:
    """The autocast context of a precision; does nothing for fp32."""
    dtype = DTYPES[precision]
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def checked_loss(loss: Any, training: bool = True) -> torch.Tensor:
    """The loss, if it is a scalar tensor that the parameters move."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        shape_or_type = (
            f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        )
        raise WorkloadError(
            f"loss(model, batch) must return a scalar tensor, but got {shape_or_type}. "
            "Reduce it with .mean(), and return no float."
        )
    if training and not loss.requires_grad:
        raise WorkloadError(
            "loss(model, batch) must depend on the model's parameters, but its result needs no gradient. "
            "Call the model inside the loss, without torch.no_grad() or .detach(), on parameters that need gradients."
        )
    return loss


class Meter(Protocol):
    """Measures at every step how the loss on its own batch changes: a range test's gain meter."""

    def mark(self) -> None:
        """The weights are about to be stepped."""

    def before_step(self, loss: torch.Tensor, again: Callable[[], torch.Tensor]) -> None:
        """The gradients are computed, and have not been clipped; `again` evaluates the loss on the same batch."""

    def after_step(
        self, loss: torch.Tensor, again: Callable[[], torch.Tensor], clipped_by: torch.Tensor | float
    ) -> None:
        """The step has been taken; `clipped_by`: the factor that all gradients were scaled by."""


class Stepper:
    """Steps one model with one optimizer, or with several.

    Args:
        model: the module that is trained.
        optimizers: one, or several that share the model. Each group's LR is the step's LR times its ratio to the first
            group of the first.
        loss: (model, batch) -> scalar tensor; or one for each optimizer, which then take their steps in turn (GANs).
        accumulate: batches a step, >= 1.
        clip_norm: the largest norm of all gradients together, > 0, or None.
        precision: fp32, or bf16 / fp16 under autocast (fp16 with a GradScaler).
        scaler: a GradScaler that the user made, in place of the one made for fp16.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizers,
        loss: Loss | Sequence[Loss],
        device: torch.device,
        *,
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: Precision = "fp32",
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        require_accumulate(accumulate)
        require(clip_norm is None or clip_norm > 0, "clip_norm must be positive, or None", clip_norm=clip_norm)
        require(precision in DTYPES, "precision must be fp32, bf16 or fp16", precision=precision)
        self.model, self.device = model, device
        self.optimizers = as_list(optimizers)
        self.losses = [loss] if callable(loss) else list(loss)
        self.modes = Modes(model, self.optimizers)
        self.scaler = torch.amp.GradScaler(device.type) if scaler is None and precision == "fp16" else scaler
        self.meter: Meter | None = None
        self.observer: Callable[[list[Any]], None] | None = None  # is shown the batches of a step before it is taken
        self.accumulate, self._clip_norm, self.precision = accumulate, clip_norm, precision
        self._check_closures()
        self._autocast = autocast(device, precision)
        self.ratios = group_ratios(self.optimizers)
        self._closures = {id(optimizer) for optimizer in self.optimizers if takes_closure(optimizer)}
        self._known = {id(parameter) for parameter in model.parameters()}
        self._begun = False
        self._failed: list[Any] = []  # the batches of a step that raised
        # losses and optimizers that go together: all at once, or in turn
        self._turns = [(self.losses[0], self.optimizers)]
        if len(self.losses) > 1:
            self._turns = [(loss, [optimizer]) for loss, optimizer in zip(self.losses, self.optimizers, strict=True)]

    @classmethod
    def of(cls, workload: Workload, model: nn.Module, optimizers: Optimizers) -> Stepper:
        """Steps a model of the workload as the workload says."""
        return cls(
            model, optimizers, losses_of(workload.total_loss), workload.torch_device,
            accumulate=workload.accumulate, clip_norm=workload.clip_norm, precision=workload.precision,
        )  # fmt: skip

    def _check_closures(self) -> None:
        """An optimizer that evaluates the loss itself does so alone, and with gradients as they are."""
        if not any(takes_closure(optimizer) for optimizer in self.optimizers):
            return
        require(
            len(self.losses) == len(self.optimizers),
            "an optimizer that evaluates the loss itself (LBFGS, SAM) must have one of its own",
            "Give a list of losses, one for each optimizer.",
            losses=len(self.losses),
            optimizers=len(self.optimizers),
        )
        require(
            self.scaler is None or not self.scaler.is_enabled(),
            "an optimizer that evaluates the loss itself (LBFGS, SAM) must train without a GradScaler",
            "Choose fp32 or bf16.",
            precision=self.precision,
        )

    @property
    def parameters(self) -> list[torch.Tensor]:
        """Every parameter the optimizers hold, in order."""
        return [parameter for optimizer in self.optimizers for parameter in held_tensors(optimizer.param_groups)]

    @user_code
    def step(self, batches: Iterator[Any], lr: float, momentum: float | None = None) -> torch.Tensor:
        """Take one step at `lr`. Returns: the loss before it (the sum of several), detached, still on the device."""
        self.modes.train()
        set_lr(self.optimizers, lr, self.ratios)
        if momentum is not None:
            set_momentum(self.optimizers, momentum)
        drawn = [next(batches) for _ in range(self.accumulate)]
        if self.observer is not None:
            self.observer(drawn)
        try:
            losses = [self._update(drawn, loss, optimizers) for loss, optimizers in self._turns]
        except BaseException:
            self._failed = drawn
            raise
        if not self._begun:
            self._require_all_held()
        if self.scaler is not None:
            self.scaler.update()
        return losses[0] if len(losses) == 1 else torch.stack([loss.float() for loss in losses]).sum()

    def _require_all_held(self) -> None:
        """After the first step. Raises: WorkloadError: the forward pass has made parameters that no optimizer trains."""
        self._begun = True
        held = self._known.union(map(id, self.parameters))
        made = [name for name, p in self.model.named_parameters() if p.requires_grad and id(p) not in held]
        if made:
            raise WorkloadError(
                "All parameters to train must be there when the optimizer is made, but the first forward pass made others: "
                f"{', '.join(made)}. Pass a batch through the model before you make the optimizer."
            )

    def _update(self, drawn: list[Any], loss: Loss, optimizers: list[torch.optim.Optimizer]) -> torch.Tensor:
        if id(optimizers[0]) in self._closures:  # it evaluates the loss itself, several times a step
            return self._step_with_closure(drawn, loss, optimizers)
        if self.meter is not None:
            self.meter.mark()
        value = self._backward(drawn, loss, optimizers)
        if self.scaler is not None:
            for optimizer in optimizers:
                self.scaler.unscale_(optimizer)
        clipped_by = self._clip(optimizers)
        if self.meter is None:
            self._move(optimizers)
            return value
        again = partial(self._again, drawn, loss)
        self.meter.before_step(value, again)
        self._move(optimizers)
        self.meter.after_step(value, again, clipped_by)
        return value

    def _step_with_closure(self, drawn: list[Any], loss: Loss, optimizers: list[torch.optim.Optimizer]) -> torch.Tensor:
        """The optimizer evaluates the loss as often as it likes. Returns: the loss before its step."""
        values: list[torch.Tensor] = []

        def closure() -> torch.Tensor:
            values.append(self._backward(drawn, loss, optimizers))
            self._clip(optimizers)
            return values[-1]

        if gradient_comes_first(optimizers[0]):
            closure()
        optimizers[0].step(closure)  # type: ignore[arg-type]
        if not values:
            kind = type(optimizers[0]).__name__
            raise WorkloadError(
                f"The step of an optimizer that needs a closure must call it, but {kind}.step() did not."
            )
        return values[0]

    def _move(self, optimizers: list[torch.optim.Optimizer]) -> None:
        for optimizer in optimizers:
            try:
                if self.scaler is None:
                    optimizer.step()
                else:
                    self.scaler.step(optimizer)
            except Exception as error:
                if not self._begun and (lacking := closure_lacking(optimizer, error)):
                    raise WorkloadError(lacking) from error
                raise

    def _again(self, drawn: list[Any], loss: Loss) -> torch.Tensor:
        """The loss of the step's batches, by the weights as they are now."""
        total: torch.Tensor | None = None
        for batch in drawn:
            with self._autocast:
                value = checked_loss(loss(self.model, batch), training=False).detach().reshape(()) / len(drawn)
            total = value if total is None else total + value
        assert total is not None
        return total

    def _backward(self, drawn: list[Any], loss: Loss, optimizers: list[torch.optim.Optimizer]) -> torch.Tensor:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        total: torch.Tensor | None = None
        for batch in drawn:
            with self._autocast:
                value = checked_loss(loss(self.model, batch))
            value = value if value.ndim == 0 else value.reshape(())  # a view is one more node to go back through
            value = value / len(drawn) if len(drawn) > 1 else value
            (value if self.scaler is None else self.scaler.scale(value)).backward()  # type: ignore[no-untyped-call]
            total = value.detach() if total is None else total + value.detach()
        assert total is not None
        return total

    def _clip(self, optimizers: list[torch.optim.Optimizer]) -> torch.Tensor | float:
        """Clip the gradients. Returns: the factor they were multiplied by."""
        if self._clip_norm is None:
            return 1.0
        held = [parameter for optimizer in optimizers for parameter in held_tensors(optimizer.param_groups)]
        norm = nn.utils.clip_grad_norm_(held, self._clip_norm)
        return (self._clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as clip_grad_norm_ computes it

    def is_finite(self, batches: Iterator[Any] | None = None) -> bool:
        """Whether every weight is finite, and every module's output on the batches of a step that raised.

        The loss is computed again to see: it may have refused a non-finite output before it was a loss.

        Args:
            batches: look at the next of these instead.
        """
        looked_at = self._failed if batches is None else [next(batches)]
        with torch.no_grad():
            checks = [in_one_piece(parameter.isfinite().all()) for parameter in self.model.parameters()]
            checks += self._outputs_finite(looked_at) if looked_at else []
            return bool(torch.stack([check.to(self.device) for check in checks]).all())

    def _outputs_finite(self, batches: list[Any]) -> list[torch.Tensor]:
        """Whether each module's outputs are finite, as far as the loss gets; -inf is let pass: masks are made of it."""
        checks: list[torch.Tensor] = []

        def check(module: nn.Module, args: Any, output: Any) -> None:
            floats = (tensor for tensor in tensors(output) if tensor.is_floating_point())
            checks.extend(in_one_piece((tensor < float("inf")).all()) for tensor in floats)  # false for nan as well

        hooks = [module.register_forward_hook(check) for module in self.model.modules()]
        try:
            with preserved_rng(self.device), autocast(self.device, self.precision):
                for batch in batches:
                    for loss in self.losses:
                        with contextlib.suppress(Exception), user_code:
                            loss(self.model, batch)
        finally:
            for hook in hooks:
                hook.remove()
        return checks
