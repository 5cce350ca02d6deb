"""An optimizer as lines of code to paste."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lr_search.schedules.source import number

GROUPS = "# your own parameter groups in place of model.parameters(); each keeps its LR's ratio to the first"
MODES = (
    "# call optimizer.train() before training goes on, and optimizer.eval() before the model is evaluated or saved:",
    "# it trains one set of weights, and another, their average, is the result",
)


def optimizer_imports(call: Mapping[str, Any]) -> list[str]:
    """The import lines it needs; a comment for a class that cannot be imported by its path."""
    module, name = _split(call)
    if module == "torch.optim":
        return ["import torch"]
    if module == "__main__" or "<locals>" in name:
        return [f"# {name.rpartition('.')[2]}: your own class, {call['class']}"]
    return [f"from {module} import {name.partition('.')[0]}"]


def optimizer_lines(call: Mapping[str, Any], lr: float) -> list[str]:
    """The comments that the optimizer of `model` needs, and the line that makes it.

    Args:
        call: as of `optimizer_call`, also after a round through JSON.
        lr: its learning rate, > 0.

    >>> optimizer_lines({"class": "torch.optim.AdamW", "settings": {"betas": [0.9, 0.95]}, "groups": 1}, 0.001)
    ['optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, betas=(0.9, 0.95))']
    """
    module, name = _split(call)
    path = call["class"] if module == "torch.optim" else name.rpartition("<locals>.")[2]
    settings = "".join(f", {name}={_source(value)}" for name, value in call["settings"].items())
    comments = [GROUPS] if call["groups"] > 1 else []
    if call.get("modes", module.partition(".")[0] == "schedulefree"):
        comments += MODES
    if call.get("left_out"):
        comments.append(f"# set these as you had them: {', '.join(call['left_out'])}")
    return [*comments, f"optimizer = {path}(model.parameters(), lr={number(lr)}{settings})"]


def _source(value: Any) -> str:
    """A setting as source code; sequences are tuples, as torch has them."""
    if isinstance(value, list | tuple):
        inner = ", ".join(_source(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _split(call: Mapping[str, Any]) -> tuple[str, str]:
    """Module and name of the class; without `module`, the last word of the path is the name."""
    module = call.get("module", call["class"].rpartition(".")[0])
    return module, call["class"].removeprefix(f"{module}.")
