"""Where an optimizer's learning rate is searched when nobody says where: a range for each kind of optimizer.

On the 62 tasks of benchmarks/truth.json the best LR was 0.001 to 1 for Adam and its like (30 tasks), 0.001 to 1 for SGD in 24 of 29,
0.1 for Adagrad, 10 for Adadelta. A range test shows where a table does not fit.
"""

from __future__ import annotations

from collections.abc import Mapping

SGD_LIKE, ADAM_LIKE, ADAGRAD_LIKE, UNKNOWN_KIND = "SGD-like", "Adam-like", "Adagrad-like", "of unknown kind"
RANGES: dict[str, tuple[float, float]] = {
    SGD_LIKE: (1e-4, 10.0),  # its steps grow with the gradient, with momentum or without
    ADAM_LIKE: (1e-6, 1.0),  # its steps are as large as the LR, whatever the gradient: RMSprop, Muon beside AdamW, ...
    ADAGRAD_LIKE: (1e-4, 10.0),  # so are the first, but they fade
    "Adadelta-like": (1e-3, 100.0),  # its steps are much smaller than the LR
    "Adafactor-like": (1e-4, 10.0),  # the LR is a share of the weights' size
    "Lion-like": (1e-7, 0.1),  # its steps are signs: a third to a tenth of AdamW's LR
    UNKNOWN_KIND: (1e-6, 10.0),
}
"""(low, high) of the LRs that are searched, by kind of optimizer."""

_BY_NAME = {"adadelta": "Adadelta-like", "adafactor": "Adafactor-like", "lion": "Lion-like"}
_GROWS, _FADES = 0.5, -0.25  # a step's power of the gradient; the slope of log(step) per decade of steps


def kind_of_optimizer(kind: type | None, character: Mapping[str, float]) -> str:
    """Which row of `RANGES` an optimizer belongs to: by its class's name, else by how it behaves.

    Args:
        kind: its class, or None where that is not known.
        character: see `lr_search.optimizers.character`; empty where nothing is known.

    >>> kind_of_optimizer(None, {"scaling": 1.0, "fade": 0.0}), kind_of_optimizer(None, {"scaling": 0.0, "fade": -0.5})
    ('SGD-like', 'Adagrad-like')
    """
    for base in () if kind is None else kind.__mro__:
        for name, row in _BY_NAME.items():
            if name in base.__name__.lower():
                return row
    if not character:
        return UNKNOWN_KIND
    if character["scaling"] > _GROWS:
        return SGD_LIKE
    return ADAGRAD_LIKE if character["fade"] < _FADES else ADAM_LIKE
