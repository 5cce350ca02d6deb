"""The steps of a ramp: taken in blocks, recorded on the device, ended where the loss blows up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lr_search.arrays import FloatArray
from lr_search.curves.curve import LRCurve, Ramp
from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError, LRSearchError, WorkloadError, user_code
from lr_search.optimizers.closures import takes_closure
from lr_search.ramp.gain_meter import GainMeter
from lr_search.ramp.movement import Movement
from lr_search.ramp.record import RampRecord, rounding_of
from lr_search.rng import preserved_rng
from lr_search.state.capture import preserved_modes
from lr_search.state.forward_state import ForwardState
from lr_search.state.sharding import shared_between_processes
from lr_search.training.batch_fault import batch_fault
from lr_search.training.evaluation import metric_sums
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk, first_batches, length, open_data, to_device
from lr_search.workloads.parts import Metrics

RAMP_BLOCK = 10  # steps between reads of the losses: each read waits for the device
UNREPEATABLE = (
    "gain_ratio=True needs a loss that comes out the same when it is evaluated again on the same batch, but got another. "
    "Leave gain_ratio out, or draw random numbers from torch's, NumPy's or Python's global generators only."
)
_FAILED = (
    "gain_ratio=True needs a loss that can be evaluated again, under torch.no_grad(), but got {kind}: {error}. "
    "Leave gain_ratio out, or compute the loss without derivatives of your own."
)


@dataclass(frozen=True)
class Sweep:
    """Validation batches, chosen once, that are evaluated before every step.

    Args:
        batches: on the device.
        metrics: (model, batch) -> {name: value}, as a workload's.
    """

    batches: Sequence[Any]
    metrics: Metrics

    @classmethod
    @user_code
    def of(cls, data: Any, metrics: Metrics, count: int, device: torch.device) -> Sweep:
        """The first `count` batches of a pass; draws nothing from the global generators or the loader's own."""
        with preserved_rng(device):
            drawn = first_batches(open_data(lambda: data, "valid_data"), "valid_data", count)
            batches = [to_device(batch, device) for batch in drawn]
        if not batches:
            raise WorkloadError(
                "valid_data must give batches, but got none. Check the data set's length and drop_last."
            )
        return cls(batches, metrics)


class RampRun:
    """A ramp in progress on a live model: `go` takes steps, `curve` tells what was recorded.

    Args:
        stepper: takes the steps.
        batches: without end.
        ramp: "exponential" or "linear", for the curve.
        gain_ratio: whether to measure it, at every step; None: where it changes, and the loss can be evaluated again.
        metrics: recorded on every batch before its step, in the mode the model is trained in.
        sweep: validation batches to evaluate before every step.
    """

    def __init__(
        self,
        stepper: Stepper,
        batches: Iterator[Any],
        ramp: Ramp,
        *,
        gain_ratio: bool | None = None,
        metrics: Metrics | None = None,
        sweep: Sweep | None = None,
    ) -> None:
        self._stepper, self._batches = stepper, batches
        if isinstance(batches, BatchWalk):
            batches.remember((RAMP_BLOCK + 1) * stepper.accumulate)
        self.failure: Exception | None = None  # that ended the ramp, on weights or outputs that are not finite
        self._asked, self._sweep = gain_ratio, sweep
        self._meter: GainMeter | None = None
        self._record, self._movement = RampRecord(ramp, every_step=gain_ratio is True), Movement(stepper)
        functions = [*stepper.losses, metrics, None if sweep is None else sweep.metrics]
        self._metrics, self._forward_state = metrics, ForwardState(stepper.model, functions)
        self._observed: list[dict[str, torch.Tensor]] = []  # of the present block
        stepper.observer = self._observe if metrics is not None or sweep is not None else None
        if gain_ratio is not False and self._measurable(gain_ratio):
            stepper.meter = self._meter = GainMeter(self._forward_state, stepper.parameters, stepper.device)

    def _measurable(self, asked: bool | None) -> bool:
        """Whether one gradient and one loss belong to a step, and the weights can be copied into one piece."""
        reason = ""
        if len(self._stepper.losses) > 1:
            reason = "several losses are trained in turn"
        elif any(takes_closure(optimizer) for optimizer in self._stepper.optimizers):
            reason = "the optimizer evaluates the loss several times a step"
        elif split := [each for each in self._stepper.parameters if is_traceable_wrapper_subclass(each)]:
            reason = f"the weights are of type {type(split[0]).__name__}, in several pieces (FSDP2, tensor parallelism)"
        if reason and asked:
            raise InvalidInputError(
                f"gain_ratio=True needs one loss and one gradient a step, of plain tensors, but {reason}. Leave gain_ratio out."
            )
        return not reason

    def close(self) -> None:
        """Let go of the batches and of the copies; the curve stays."""
        self._stepper.meter = self._meter = self._stepper.observer = self._sweep = None
        self._forward_state.clear()
        if isinstance(self._batches, BatchWalk):
            self._batches.close()

    def go(self, lrs: FloatArray) -> None:
        """Take a step at each LR, until the loss blows up or is not finite; changes the model."""
        for begin in range(0, len(lrs), RAMP_BLOCK):
            self._block(lrs[begin : begin + RAMP_BLOCK].tolist())
            if self._record.stopped != "finished":
                return
        self._movement.at_end()

    def _block(self, lrs: list[float]) -> None:
        losses: list[torch.Tensor] = []
        failure: Exception | None = None
        self._observed = []
        asked = self._record.to_measure(lrs)
        if self._meter is not None:
            self._meter.measured = iter(asked)
        try:
            for lr in lrs:
                losses.append(self._stepper.step(self._batches, lr))
                self._movement.after_step()
        except LRSearchError:
            raise
        except Exception as error:
            failure = error
        record = self._record
        record.take(lrs, self._values(losses))
        self._measure(asked[: len(losses)])
        if record.stopped == "finished" and failure is not None:
            if record.is_empty or self._stepper.is_finite():
                raise failure
            record.stopped, self.failure = "non_finite", failure

    def require_sound(self, begin: Callable[[], RampRun]) -> None:
        """Raise if what is not finite was so by a batch's fault.

        Args:
            begin: makes another run of the same ramp, from the weights it began with.

        Raises:
            WorkloadError: it was.
            Exception: that ended the ramp; the loss raises one with the weights it began with, too.
        """
        record, batches = self._record, self._batches
        if record.stopped != "non_finite":
            return
        if isinstance(batches, BatchWalk) and not shared_between_processes(self._stepper.model):
            other = begin()
            try:
                fault = batch_fault(other._stepper, batches, 1 + record.recorded * self._stepper.accumulate)
            finally:
                other.close()
            if isinstance(fault, WorkloadError):
                raise fault
            if fault is not None and self.failure is not None:
                raise self.failure
        if record.is_empty:
            raise WorkloadError(
                "The first loss must be finite, but it was not, before any step was taken. Check the data and the loss."
            )

    def _values(self, losses: list[torch.Tensor]) -> FloatArray:
        """The losses of a block, (steps,); the mean over all processes where there are several."""
        if not losses:
            return np.empty(0)
        return self._averaged(torch.stack(losses)).double().numpy()

    def _averaged(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over all processes; waits for the device."""
        return averaged(values, self._stepper.model).cpu()

    def _observe(self, drawn: list[Any]) -> None:
        """Evaluate the metrics before the step, and leave no trace; the values stay on the device."""
        model, device, precision = self._stepper.model, self._stepper.device, self._stepper.precision
        means: dict[str, torch.Tensor] = {}
        with preserved_rng(device), self._forward_state.preserved():
            if self._metrics is not None:
                means |= _means(*metric_sums(model, drawn, self._metrics, device, precision)[:2])
                self._record.forwards += 1
            if self._sweep is not None:
                with preserved_modes(model), self._stepper.modes.averaged():
                    model.eval()
                    sums, counts, _ = metric_sums(model, self._sweep.batches, self._sweep.metrics, device, precision)
                means |= {f"valid_{name}": mean for name, mean in _means(sums, counts).items()}
                self._record.forwards += len(self._sweep.batches) / len(drawn)
        self._observed.append(means)

    def _measure(self, asked: list[bool]) -> None:
        """Read what was measured in a block; at which of its steps the loss was to be evaluated again."""
        record, observed = self._record, self._observed[: len(asked)]
        for name in observed[0] if observed else ():
            wide = torch.float32 if self._stepper.device.type == "mps" else torch.float64  # Apple's GPUs have no more
            column = self._averaged(torch.stack([values[name].to(wide) for values in observed]))
            record.take_metric(name, column.tolist())
        meter = self._meter
        rows = None if meter is None else meter.read()
        if meter is None or not asked:
            return
        record.forwards += (not record.measured) + (0 if rows is None else sum(asked))
        if not record.measured and self._averaged(meter.differs()[None])[0] > 0:  # on any process
            self._give_up(meter)
        elif rows is not None:
            weights = self._stepper.parameters[0].dtype
            record.rounding = rounding_of(meter.loss_dtype, self._stepper.precision, weights)
            record.take_rows(self._averaged(rows).numpy())

    def _give_up(self, meter: GainMeter) -> None:
        """The loss cannot be evaluated again: go on without the gain ratio, unless it was asked for."""
        if self._asked:
            error = meter.failure
            if error is None:
                raise InvalidInputError(UNREPEATABLE)
            raise InvalidInputError(_FAILED.format(kind=type(error).__name__, error=str(error).rstrip("."))) from error
        self._stepper.meter = self._meter = None

    def curve(self) -> LRCurve:
        """What was recorded so far."""
        num_weights = sum(p.numel() for p in self._stepper.parameters if p.requires_grad)
        plan = passes_of(self._batches, self._stepper.accumulate)
        return self._record.curve(self._stepper.optimizers, self._stepper.ratios, num_weights, plan)


def passes_of(batches: Iterator[Any], accumulate: int) -> Plan | None:
    """How many steps a pass over the data takes, where that is known."""
    count = length(batches.data) if isinstance(batches, BatchWalk) else None
    return None if not count else Plan(steps_per_epoch=count / accumulate)


def _means(sums: Mapping[str, torch.Tensor], counts: Mapping[str, torch.Tensor | float]) -> dict[str, torch.Tensor]:
    return {name: total / counts[name] for name, total in sums.items()}  # moving a count to a GPU would wait for it


def averaged(losses: torch.Tensor, model: nn.Module) -> torch.Tensor:
    """The mean over the processes that train one model together, so that all of them end the ramp at the same step."""
    if not shared_between_processes(model):
        return losses
    torch.distributed.all_reduce(losses)
    return losses / torch.distributed.get_world_size()
