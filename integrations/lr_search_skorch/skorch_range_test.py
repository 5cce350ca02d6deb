"""A range test before a net's training: the callback finds its LR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lr_search.curves.training_plan import Plan
from lr_search.errors import InvalidInputError
from lr_search.kinds.checked import checked
from lr_search.optimizers.param_groups import group_ratios, set_lr
from lr_search.ramp.range_test import range_test
from lr_search.ramp.settings import ramp_steps
from lr_search.rng import preserved_rng
from lr_search.state.capture import device_of
from lr_search_skorch.skorch_net import modules_of, optimizers_of, require_skorch, training_batches

require_skorch()

from skorch.callbacks import Callback  # noqa: E402
from skorch.dataset import unpack_data  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
class RangeTest(Callback):  # type: ignore[misc]
    """Runs a range test when `fit` begins, puts the net back, and trains on with the LR that it suggests.

    Parameter groups keep the ratios of their LRs. Every `fit` and `partial_fit` runs it anew. A `Schedule` stands after it: its
    peak is the LR that was set.

    Args:
        schedule: the name of the one that the net trains under, for which the LR is suggested.
        start_lr: LR at the first step of the ramp, > 0.
        end_lr: LR at its last; default: 10, and on from there where nothing broke.
        num_steps: of the ramp, >= 20; default: 100, for a training shorter than 300 steps a third.

    Attributes:
        curve_: what was recorded, a `lr_search.LRCurve`.
        suggestion_: what was read off it: lr, status, reason.
    """

    def __init__(
        self,
        *,
        schedule: str = "constant",
        start_lr: float = 1e-7,
        end_lr: float | None = None,
        num_steps: int | None = None,
    ) -> None:
        Plan(schedule=schedule)  # which refuses a name that no schedule has
        self.schedule, self.start_lr, self.end_lr, self.num_steps = schedule, start_lr, end_lr, num_steps

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Test, and set the LR."""
        model, optimizers = modules_of(net), optimizers_of(net)
        model.train()  # as each of the net's steps does

        def loss(_: Any, batch: Any) -> Any:
            inputs, target = unpack_data(batch)
            return net.get_loss(net.infer(inputs), target, X=inputs, training=True)

        with preserved_rng(device_of(model)):
            batches = training_batches(net, X, y)
            planned = net.max_epochs * len(batches)
            num_steps = ramp_steps(self.num_steps, planned)
            curve = range_test(
                model, optimizers, batches, loss, start_lr=self.start_lr, end_lr=self.end_lr, num_steps=num_steps
            )
        self.curve_ = curve.planned(self.schedule, planned)
        self.suggestion_ = self.curve_.suggest()
        set_lr(optimizers, self.suggestion_.lr, group_ratios(optimizers))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve. Returns: its Axes; `.figure.savefig(path)` saves the picture."""
        if not hasattr(self, "curve_"):
            raise InvalidInputError("A range test can be drawn when it has run. Call net.fit(X, y) first.")
        return self.curve_.plot(ax)
