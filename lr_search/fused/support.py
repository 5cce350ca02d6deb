"""Whether trainings of a workload can be fused: tried out on one batch, before anything is trained."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from lr_search.errors import LRSearchError, error_text, user_code
from lr_search.fused.linearity import optimizer_lacking, stacks
from lr_search.fused.losses import ChangingPartsError, FusedLoss
from lr_search.fused.metrics import FusedMetrics
from lr_search.fused.reference import Alone
from lr_search.fused.seed_batches import num_bytes
from lr_search.fused.stack import Stack
from lr_search.optimizers.param_groups import Optimizers, as_list, groups, held_tensors
from lr_search.rng import RNGState, preserved_rng, seed_everything
from lr_search.state.capture import capture_loss, preserved_modes, restored_afterwards
from lr_search.training.evaluation import metric_total
from lr_search.training.judge import Judge
from lr_search.training.step import autocast
from lr_search.workloads.batches import to_device
from lr_search.workloads.optimizer_forms import of_parameters
from lr_search.workloads.passes import ModelBatches
from lr_search.workloads.workload import Workload

TOLERANCE_BY_PRECISION = {
    "fp32": 1e-3,
    "bf16": 5e-2,
}  # how far a fused loss or gradient may lie from a model's own, relative to it
_APART = 0.05  # the second model of the trial, from the first: relative to the root mean square of its weights
LOOPED = "There is a performance drop"  # vmap warns of what it can but do model by model
PURE = "a loss that is a pure function of (model, batch)"


@dataclass(frozen=True)
class Support:
    """What is known of a workload.

    Args:
        reason: why its trainings cannot be fused, as the rule and what came; "" where they can.
        trained: the names of the parameters that a step moves.
        stacks: whether one optimizer can step all models at once; if not, each has its own.
        metrics: whether its metrics can be computed for all models at once.
        draws: whether a forward pass draws random numbers.
        row_bytes: memory that one model takes in a step, roughly: weights, gradients, optimizer, what the backward pass keeps,
            and as much again while it runs.
        batch_bytes: memory that the batches of a step take.
    """

    reason: str = ""
    trained: tuple[str, ...] = ()
    stacks: bool = False
    metrics: bool = False
    draws: bool = False
    row_bytes: int = 0
    batch_bytes: int = 0


class _CannotFuseError(Exception):
    """The reason, as the rule and what came."""


def support_of(workload: Workload, seed: int) -> Support:
    """Try it out: two models with different weights, fused, against each by itself.

    Raises:
        WorkloadError: the workload cannot be trained at all.
    """
    try:
        functions = [workload.total_loss, workload.metrics]
        with preserved_rng(workload.torch_device), restored_afterwards(capture_loss(functions)), user_code:
            return _tried(workload, seed)
    except LRSearchError:
        raise
    except _CannotFuseError as error:
        return Support(str(error))
    except Exception as error:  # the user's code raises: the trials will report it
        return Support(f"a workload that can be tried out on one batch, but got {error_text(error)}")


def known_support(workload: Workload, seed: int) -> Support:
    """As `support_of`, or what it found before, as long as the workload makes models and optimizers of the same kind."""
    functions = [workload.total_loss, workload.metrics]
    try:
        with preserved_rng(workload.torch_device), restored_afterwards(capture_loss(functions)), user_code:
            seed_everything(seed)
            kind = _kind_of(*workload.build())
    except Exception:  # it says which
        return support_of(workload, seed)
    known = _KNOWN.get(id(workload))
    if known is None:
        weakref.finalize(workload, _KNOWN.pop, id(workload), None)
    if known is None or known[0] != kind:
        known = _KNOWN[id(workload)] = kind, support_of(workload, seed)
    return known[1]


_KNOWN: dict[int, tuple[list[object], Support]] = {}  # by the id of a workload, while it lives


def _kind_of(model: nn.Module, optimizers: Optimizers) -> list[object]:
    """What a try-out depends on, as far as it can be seen: modules, parameters and the optimizer's settings."""
    modules = [(name, type(module), module.training, module.extra_repr()) for name, module in model.named_modules()]
    named = [
        (name, p.shape, p.dtype, p.requires_grad) for name, p in [*model.named_parameters(), *model.named_buffers()]
    ]
    held, kinds = groups(optimizers), [type(each) for each in as_list(optimizers)]
    settings = [{name: value for name, value in group.items() if name != "params"} for group in held]
    return [modules, named, kinds, repr(settings), [len(group["params"]) for group in held]]


def _tried(workload: Workload, seed: int) -> Support:
    model, optimizers, walk = workload.begin(seed)
    lacking = optimizer_lacking(workload.optimizer, optimizers)
    _require(not lacking, lacking)
    factory, optimizer = of_parameters(workload.optimizer, optimizers)
    _require_plain(workload, model, optimizer)
    batch = next(walk)
    walk.close()
    own = Alone(workload, model, batch)
    first = own.run()
    _require(
        not own.kept, f"a model that keeps its state in buffers, but got {', '.join(own.kept)}, which a step changes"
    )
    _require_same(
        "the loss", [first.loss], [own.run().loss], workload, f"{PURE}, which gives the same when it is called again"
    )
    held = {id(parameter) for parameter in held_tensors(optimizer.param_groups)}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    moved = {name for name, parameter in first.named() if id(parameter) in held}
    trained = tuple(names[id(p)] for p in held_tensors(optimizer.param_groups) if names.get(id(p)) in moved)
    _require(len(trained) > 0, "parameters that its optimizer holds and its loss moves, but got none")
    named = dict(model.named_parameters())
    stack = Stack(model, [named[name] for name in trained], 2)
    _try_loss(workload, own, stack)
    return Support(
        trained=trained,
        stacks=stacks(factory, optimizer),
        metrics=_metrics_work(workload, seed, stack),
        draws=own.draws,
        row_bytes=2 * own.kept_bytes + 8 * stack.weights[0].numel() * stack.weights.element_size(),
        batch_bytes=workload.accumulate * num_bytes(batch),
    )


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise _CannotFuseError(rule)


def _require_plain(workload: Workload, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """What can be seen without trying."""
    for name in ("train_data", "valid_data", "test_data"):
        of_model = isinstance(getattr(workload, name), ModelBatches)
        _require(not of_model, f"{name} that are the same whatever the model, but got some that are made of it")
    _require(
        workload.precision != "fp16", "precision fp32 or bf16, but got fp16, whose loss scale is each training's own"
    )
    tensors = [*model.parameters(), *model.buffers()]
    split = sorted({type(tensor).__name__ for tensor in tensors if is_traceable_wrapper_subclass(tensor)})
    _require(not split, f"plain tensors as weights, but got {' and '.join(split)}")
    devices = sorted({str(tensor.device) for tensor in tensors})
    _require(len(devices) == 1, f"a model on one device, but got one on {' and '.join(devices)}")
    held = [parameter for parameter in held_tensors(optimizer.param_groups) if parameter.requires_grad]
    dtypes = sorted({str(parameter.dtype) for parameter in held})
    _require(len(dtypes) <= 1, f"weights of one dtype, but got {' and '.join(dtypes)}")
    sparse = [name for name, m in model.named_modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.sparse]
    _require(not sparse, f"dense gradients, but got sparse ones of {', '.join(sparse)}")


def _try_loss(workload: Workload, own: Alone, stack: Stack) -> None:
    """Two models with different weights: losses, gradients and buffers, fused, against each by itself."""
    stack.weights[1] += _APART * _noise(stack.weights[1])
    fused = FusedLoss(stack, workload.total_loss, workload.precision, draws=own.draws)
    with named_failures(own.model), own.replayed():
        losses = fused.backward([own.batch])
    gradients = stack.views(stack.gradients)
    for row in (1, 0):  # the first one's weights are left in the model
        alone = own.run_row(stack, row)
        own_gradients = {id(p): gradient for (_, p), gradient in zip(alone.parameters, alone.gradients, strict=True)}
        wanted = [own_gradients[id(parameter)] for parameter in stack.parameters]
        got = [gradient[row] for gradient in gradients]
        same = f"{PURE} and of nothing else"
        _require_same("the loss", [losses[row]], [alone.loss], workload, same)
        _require_same("the gradient", _joined(got), _joined(wanted), workload, same)
        _require_same(
            "a buffer", [b[row] for b in stack.buffers], alone.buffers, workload, "buffers that are written to in place"
        )


def _joined(tensors: Sequence[torch.Tensor | None]) -> list[torch.Tensor]:
    """Gradients as one, so that what is nearly 0 is compared with the rest."""
    return [torch.cat([tensor.reshape(-1) for tensor in tensors if tensor is not None])]


def _noise(row: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(row.shape, generator=generator, dtype=torch.float64).to(row)
    return drawn * row.square().mean().sqrt()


def _require_same(
    what: str, got: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], workload: Workload, rule: str
) -> None:
    """Raises: _CannotFuseError: they differ by more than rounding."""
    for one, other in zip(got, wanted, strict=True):
        one, other = one.detach().double(), other.detach().double()
        scale = other.nan_to_num().abs().max() if other.numel() else torch.zeros(())
        close = torch.isclose(
            one, other, rtol=0.0, atol=TOLERANCE_BY_PRECISION[workload.precision] * float(scale) + 1e-6, equal_nan=True
        )
        if not bool(close.all()):
            came = f"{float(one):.6g} and {float(other):.6g}" if one.ndim == 0 else "values that differ"
            raise _CannotFuseError(f"{rule}, but {what} of one batch came out as {came}")


def _metrics_work(workload: Workload, seed: int, stack: Stack) -> bool:
    """Whether the metrics of two models come out fused as by themselves; any exception is an answer."""
    judge, model = Judge(workload, seed), stack.model
    fused = FusedMetrics(stack, workload.metrics_or_loss, workload.precision)
    try:
        with judge.opened(model) as batches, preserved_modes(model), warnings.catch_warnings():
            warnings.filterwarnings("error", message=LOOPED)
            model.eval()
            batch = to_device(next(iter(batches)), workload.torch_device)
            rng = RNGState.capture(workload.torch_device)
            together = fused((0, 1), batch)
            for row in (1, 0):
                rng.restore()
                stack.loaded(row)
                with torch.no_grad(), autocast(workload.torch_device, workload.precision):
                    values = workload.metrics_or_loss(model, batch)
                alone = {name: metric_total(name, value, batch) for name, value in values.items()}
                if list(alone) != list(together):
                    return False
                for name, (total, count) in alone.items():
                    pair = [torch.as_tensor(number, dtype=torch.float64) for number in (total, count)]
                    _require_same(name, [sums[row] for sums in together[name]], pair, workload, "")
    except LRSearchError:
        raise
    except Exception:
        return False
    finally:
        judge.close()
    return True


@contextmanager
def named_failures(model: nn.Module) -> Iterator[None]:
    """An exception of vmap's becomes a reason that names the part of the model it was raised in."""
    entered: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda module, args: entered.append(
            f"{name} ({type(module).__name__})" if name else type(module).__name__
        )

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        entered.pop()

    hooks = [module.register_forward_pre_hook(enter(name)) for name, module in model.named_modules()]
    hooks += [module.register_forward_hook(leave) for module in model.modules()]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=LOOPED)
            yield
    except LRSearchError:
        raise
    except ChangingPartsError as error:
        raise _CannotFuseError(f"{PURE} and of nothing else, but the weights it was given did not move it") from error
    except Exception as error:
        place = f" in {entered[-1]}" if entered else " in the loss"
        text = " ".join(str(error).split())
        words = f"{text[:200]}..." if len(text) > 200 else text
        raise _CannotFuseError(
            f"a model and a loss that torch.func.vmap can batch, but got {type(error).__name__}{place}: {words.rstrip('.')}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
