"""An optimizer as lines of code to paste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lr_search.results.code.class_code import class_code, is_ours
from lr_search.schedules.source import number

GROUPS = "# param_groups: your own function, which gives the parameter groups of the model: {} of them, in the order that the search had"
OF_MODEL = "# {}: your own function of (model, lr), as the workload has it"
MODES = (
    "# call optimizer.train() before training goes on, and optimizer.eval() before the model is evaluated or saved:",
    "# it trains one set of weights, and another, their average, is the result",
)


def optimizer_imports(call: Mapping[str, Any]) -> list[str]:
    """The import lines it needs; a comment for a class that cannot be imported by its path."""
    module, name = _split(call)
    if call.get("made_by"):
        return []
    if module == "torch.optim":
        return ["import torch"]
    if is_ours(module):
        return list(class_code(module, name).imports)
    if module == "__main__" or "<locals>" in name:
        return [f"# {name.rpartition('.')[2]}: your own class, {call['class']}"]
    return [f"from {module} import {name.partition('.')[0]}"]


def optimizer_lines(call: Mapping[str, Any], lr: float) -> list[str]:
    """The comments that the optimizer of `model` needs, and the line that makes it; a class of ours before it.

    Args:
        call: as of `optimizer_call`, also after a round through JSON.
        lr: its learning rate, > 0.

    >>> optimizer_lines({"class": "torch.optim.AdamW", "settings": {"betas": [0.9, 0.95]}, "groups": []}, 0.001)
    ['optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, betas=(0.9, 0.95))']
    """
    module, name = _split(call)
    path = call["class"] if module == "torch.optim" else name.rpartition("<locals>.")[2]
    settings = "".join(f", {name}={_source(value)}" for name, value in call["settings"].items())
    groups = call["groups"]
    modes = MODES if call.get("modes", module.partition(".")[0] == "schedulefree") else ()
    if call.get("made_by"):
        made = "optimizers" if call["several"] > 1 else "optimizer"
        return [OF_MODEL.format(call["made_by"]), *modes, f"{made} = {call['made_by']}(model, {number(lr)})"]
    comments = [*([GROUPS.format(len(groups))] if groups else []), *modes]
    if call.get("left_out"):
        comments.append(f"# set these as you had them: {', '.join(call['left_out'])}")
    params = "param_groups(model)" if groups else "model.parameters()"
    source = ["", class_code(module, name).source, "", ""] if is_ours(module) else []
    return [*source, *comments, f"optimizer = {path}({params}, lr={number(lr)}{settings})", *_group_lines(groups, lr)]


def _group_lines(groups: Sequence[Mapping[str, Any]], lr: float) -> list[str]:
    """Give each group its LR, whichever it named itself, and the settings that were seen in it."""
    if not groups:
        return []
    own = [{"lr": float(number(lr * group["ratio"])), **group["settings"]} for group in groups]
    texts = [", ".join(f'"{name}": {_source(value)}' for name, value in each.items()) for each in own]
    return [
        "settings = [  # of each group",
        *(f"    {{{text}}}," for text in texts),
        "]",
        "for group, own in zip(optimizer.param_groups, settings, strict=True):",
        "    group.update(own)",
    ]


def promise_lines(
    groups: Sequence[Mapping[str, Any]], peak: str, peak_lr: float, *, several: bool = False
) -> list[str]:
    """The lines that check, before the training, that each group's peak LR is the one that is promised; none without groups.

    Args:
        groups: as of `optimizer_call`.
        peak: source of the highest LR that `group` will be trained at, once there is a scheduler.
        peak_lr: the first group's.
        several: whether there are several optimizers.
    """
    if not groups:
        return []
    peaks = ", ".join(number(peak_lr * group["ratio"]) for group in groups)
    held = "for optimizer in optimizers for group" if several else "for group"
    return [
        f"highest = [{peak} {held} in optimizer.param_groups]",
        f"promised = [{peaks}]",
        'assert all(map(math.isclose, highest, promised)), f"the LRs of the groups must rise to {promised}, but rise to {highest}"',
    ]


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
