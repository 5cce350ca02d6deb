"""Nothing waits for the device within a block of steps: losses and measurements stay on it, and are read together.

Tensors on the "meta" device have shapes but no values, so that whatever reads one raises there, also `.cpu()`; on the CPU
reads are counted, and told apart by the step they fall into. A GPU, where there is one, is asked itself.
"""

from collections import Counter
from itertools import cycle, islice, product

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import lr_search as lrs
from lr_search.ramp.run import RAMP_BLOCK, RampRun, Sweep
from lr_search.schedules import Constant
from lr_search.training.course import TRAINING_BLOCK
from lr_search.training.step import Stepper
from lr_search.workloads.batches import BatchWalk
from tests.helpers.case_ids import case_id
from tests.helpers.devices import waits_raise

ASKED = ("item", "tolist", "cpu", "numpy", "nonzero", "equal", "allclose", "masked_select", "unique", "__array__")
ASKED += ("__bool__", "__float__", "__int__", "__index__")
WITHIN = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")  # in C++

OPTIMIZERS = {
    "SGD": lambda params, lr=0.01: torch.optim.SGD(params, lr=lr),
    "momentum": lambda params, lr=0.01: torch.optim.SGD(params, lr=lr, momentum=0.9, nesterov=True),
    "Adam": lambda params, lr=0.01: torch.optim.Adam(params, lr=lr),
    "AdamW": lambda params, lr=0.01: torch.optim.AdamW(params, lr=lr),
}


@pytest.fixture(autouse=True)
def known_optimizers(monkeypatch):
    """What kind of optimizer it is, is found out once a process, on a weight of its own on the CPU."""
    monkeypatch.setattr("lr_search.ramp.record.character", lambda optimizer: {})


class Reads:
    """Counts what would wait for a GPU, by the number of updates done when it happens; an optimizer counts these."""

    def __init__(self):
        self.updates, self.found = 0, Counter()

    def count(self, optimizer):
        optimizer.register_step_post_hook(lambda *_: setattr(self, "updates", self.updates + 1))
        return optimizer

    def __enter__(self):
        reads = self

        class Python(TorchFunctionMode):
            def __torch_function__(self, function, types, args=(), kwargs=None):
                reads.seen(getattr(function, "__name__", ""), ASKED)
                return function(*args, **(kwargs or {}))

        class Dispatched(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                reads.seen(function.overloadpacket.__name__, WITHIN)
                return function(*args, **(kwargs or {}))

        self._modes = [Python(), Dispatched()]
        for mode in self._modes:
            mode.__enter__()
        return self

    def seen(self, name, names):
        if name in names:
            self.found[self.updates, name] += 1

    def __exit__(self, *error):
        for mode in reversed(self._modes):
            mode.__exit__(*error)


def net():
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def metrics(model, batch):
    outputs = model(batch[0])
    right = (outputs.argmax(1) == batch[1]).float()
    return {"accuracy": right, "right": (right.sum(), len(right)), "half": (right.sum(), right.sum() * 2), "one": 1.0}


@pytest.fixture
def batches(examples):
    """7 batches of 8."""
    return [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(7)]


def climb(batches, device, optimizer, *, sweep, **options):
    """A ramp's stepper and batches on a device, measuring all that can be measured."""
    moved = [tuple(part.to(device) for part in batch) for batch in batches]
    model = net().to(device)
    stepper = Stepper(model, OPTIMIZERS[optimizer](model.parameters()), loss, device, **options)
    walk = BatchWalk(lambda: moved, "batches", device)
    validation = Sweep.of(moved, metrics, 2, device) if sweep else None
    RampRun(stepper, walk, "exponential", gain_ratio=True, metrics=metrics, sweep=validation)
    return stepper, walk


OPTIONS = [{}, {"clip_norm": 0.1, "accumulate": 2}]
COUNTED = ("momentum", "Adam")  # the second reads by itself


@pytest.mark.parametrize("sweep", [False, True], ids=["training batches", "validation sweep"])
@pytest.mark.parametrize("options", OPTIONS, ids=case_id)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_reads_no_value_of_any_tensor(batches, optimizer, options, sweep):
    stepper, walk = climb(batches, torch.device("meta"), optimizer, sweep=sweep, **options)
    assert stepper.meter is not None
    assert stepper.observer is not None
    for lr in (1e-3, 1e-2, 1e-1):
        assert stepper.step(walk, lr).device.type == "meta"
    assert len(stepper.meter.read()) == 3


@pytest.mark.parametrize("read", [torch.Tensor.item, torch.Tensor.cpu, torch.Tensor.tolist, torch.Tensor.nonzero, bool])
def test_on_the_meta_device_reading_a_value_raises(batches, read):
    stepper, walk = climb(batches, torch.device("meta"), "SGD", sweep=False)

    def reads(model, batch):
        value = loss(model, batch)
        read(value.detach())
        return value

    stepper._turns = [(reads, stepper.optimizers)]
    with pytest.raises((RuntimeError, NotImplementedError)):
        stepper.step(walk, 1e-3)


def bare_reads(batches, optimizer, num_steps, accumulate=1):
    """Those of the plain loop: torch's own Adam reads its counters, which lie on the CPU."""
    model, reads = net(), Reads()
    optimizer = reads.count(OPTIMIZERS[optimizer](model.parameters()))
    walk = cycle(batches)
    with reads:
        for _ in range(num_steps):
            optimizer.zero_grad()
            for batch in islice(walk, accumulate):
                (loss(model, batch) / accumulate).backward()
            optimizer.step()
    return reads.found


def ramp_reads(batches, optimizer, num_steps, **options):
    model, reads = net(), Reads()
    live = reads.count(OPTIMIZERS[optimizer](model.parameters()))
    with reads:
        curve = lrs.range_test(model, live, batches, loss, start_lr=1e-6, end_lr=1e-4, num_steps=num_steps, **options)
    assert (len(curve.lr), reads.updates) == (num_steps, num_steps)
    return reads.found - bare_reads(batches, optimizer, num_steps, options.get("accumulate", 1))


MEASURED = [
    {"gain_ratio": False},
    {"gain_ratio": True, "clip_norm": 0.1, "accumulate": 2},
    {"metrics": metrics},
    {"metrics": metrics, "valid_data": True, "gain_ratio": True},
]


@pytest.mark.parametrize("options", MEASURED, ids=lambda options: ", ".join(options))
@pytest.mark.parametrize("optimizer", COUNTED)
def test_a_range_test_reads_at_the_end_of_each_block_and_nowhere_else(batches, optimizer, options):
    if "valid_data" in options:
        options = options | {"valid_data": batches}
    short, long = (ramp_reads(batches, optimizer, steps, **options) for steps in (2 * RAMP_BLOCK, 5 * RAMP_BLOCK))
    # before the first update, and between the last of a block and the first of the next
    assert {place % RAMP_BLOCK for place, _ in long} == {0}
    at = {place: Counter() for place in range(0, 5 * RAMP_BLOCK + 1, RAMP_BLOCK)}
    for (place, name), count in long.items():
        at[place][name] += count
    columns = 4 if "metrics" in options else 0
    first_to_last = [at[place].total() for place in range(2 * RAMP_BLOCK, 5 * RAMP_BLOCK + 1, RAMP_BLOCK)]
    assert (
        first_to_last.pop() == first_to_last[0] + 2
    )  # at the very end, whether a weight has moved: asked, and compared
    assert len(set(first_to_last)) == 1  # every block the same
    assert 0 < first_to_last[0] <= 2 * (1 + columns + 1)  # losses, each metric, the gain ratio's: copied, and read
    assert long.total() - short.total() == 3 * first_to_last[0]


def test_reads_within_a_block_would_be_seen(batches):
    def reading(model, batch):
        value = loss(model, batch)
        value.item()
        return value

    model, reads = net(), Reads()
    optimizer = reads.count(torch.optim.SGD(model.parameters(), lr=0.1))
    with reads:
        lrs.range_test(model, optimizer, batches, reading, end_lr=1e-4, num_steps=20, gain_ratio=False)
    assert {place % RAMP_BLOCK for place, _ in reads.found} == set(range(RAMP_BLOCK))
    assert sum(count for (_, name), count in reads.found.items() if name == "item") == 20
    assert sum(count for (_, name), count in reads.found.items() if name == "_local_scalar_dense") == 20


@pytest.mark.parametrize("changes", OPTIONS, ids=case_id)
@pytest.mark.parametrize("optimizer", COUNTED)
def test_a_training_reads_at_the_end_of_each_block_and_nowhere_else(batches, make_workload, optimizer, changes):
    num_steps = 3 * TRAINING_BLOCK
    reads = Reads()
    workload = make_workload(
        model=net, optimizer=lambda params, lr: reads.count(OPTIMIZERS[optimizer](params, lr)), loss=loss,
        train_data=lambda: batches, valid_data=lambda: batches, num_steps=num_steps, eval_every=num_steps, **changes,
    )  # fmt: skip
    with reads:
        list(lrs.train(workload, Constant(1e-3)))
    assert reads.updates == num_steps
    added = reads.found - bare_reads(batches, optimizer, num_steps, changes.get("accumulate", 1))
    assert {place % TRAINING_BLOCK for place, _ in added} == {0}
    between = [sum(n for (place, _), n in added.items() if place == k * TRAINING_BLOCK) for k in (1, 2)]
    assert between[0] == between[1] <= 2


@pytest.mark.gpu
@pytest.mark.parametrize("sweep", [False, True], ids=["training batches", "validation sweep"])
def test_a_gpu_is_not_waited_for_within_a_block(batches, sweep):
    for optimizer, options in product(OPTIMIZERS, OPTIONS):
        steps_on_a_gpu(batches, optimizer, options, sweep)


def steps_on_a_gpu(batches, optimizer, options, sweep):
    stepper, walk = climb(batches, torch.device("cuda", torch.cuda.current_device()), optimizer, sweep=sweep, **options)
    for _ in range(2):  # what is set up once may wait
        stepper.step(walk, 1e-3)
    with waits_raise():
        losses = [stepper.step(walk, 1e-3) for _ in range(RAMP_BLOCK)]
    assert torch.stack(losses).isfinite().all()
