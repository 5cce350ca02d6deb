"""How an ensemble makes one output of its members': by name, or by a function of the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch.nn import functional

from lr_search.errors import require

CombineFunction: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
Combine: TypeAlias = Literal["softmax", "sigmoid", "mean"] | CombineFunction


def log_mean_softmax(outputs: torch.Tensor) -> torch.Tensor:
    r"""The log of the members' mean probabilities, so that cross-entropy of it is their negative log-likelihood.

    out = logsumexp_i(log_softmax(x_i)) - log(m)

    Args:
        outputs: logits (members, examples, classes, ...), the classes where torch's `cross_entropy` has them.

    Returns:
        (examples, classes, ...).
    """
    classes = outputs.shape[2] if outputs.ndim > 2 else 1
    require(
        classes > 1,
        "to be combined by 'softmax', a model's output must have a dimension 1 of at least 2 classes",
        "Combine single logits by 'sigmoid', and outputs of another form by a function of yours.",
        shape=tuple(outputs.shape[1:]),
    )
    return torch.logsumexp(functional.log_softmax(_widened(outputs), dim=2), dim=0) - math.log(len(outputs))


def logit_mean_sigmoid(outputs: torch.Tensor) -> torch.Tensor:
    r"""The logit of the members' mean probabilities, so that binary cross-entropy with logits is right on it.

    out = log(mean_i s(x_i)) - log(mean_i s(-x_i)),   s(x) = 1 / (1 + exp(-x)),   since 1 - s(x) = s(-x)

    Args:
        outputs: logits (members, ...).

    Returns:
        (...).
    """
    wide = _widened(outputs)
    ones, zeros = functional.logsigmoid(wide), functional.logsigmoid(-wide)
    return torch.logsumexp(ones, dim=0) - torch.logsumexp(zeros, dim=0)


def mean(outputs: torch.Tensor) -> torch.Tensor:
    """The mean over the members. Args: outputs (members, ...). Returns: (...)."""
    return _widened(outputs).mean(dim=0)


COMBINE: dict[str, CombineFunction] = {"softmax": log_mean_softmax, "sigmoid": logit_mean_sigmoid, "mean": mean}


def require_combine(combine: object) -> None:
    """Raises: InvalidInputError: it is neither a name, nor a function, nor None."""
    known = combine is None or callable(combine) or (isinstance(combine, str) and combine in COMBINE)
    names = ", ".join(repr(name) for name in COMBINE)
    require(known, f"combine must be {names}, a function of the stacked outputs, or None", combine=combine)


def _widened(outputs: torch.Tensor) -> torch.Tensor:
    """Half precision as float32: a mean of few members loses most of its bits otherwise."""
    return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
