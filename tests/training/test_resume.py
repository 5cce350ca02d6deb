"""state_dict() and load_state_dict(): a training goes on elsewhere with the same bits."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import lr_search as lrs
from lr_search.schedules import Triangular
from tests.helpers.case_ids import case_id

STEPS_A_PASS = 7


def loaders(kind, examples):
    """A train_data factory of 7 batches of 8 a pass."""
    data = TensorDataset(*examples)
    batches = [tuple(part[8 * i : 8 * i + 8] for part in examples) for i in range(STEPS_A_PASS)]

    def drawing_as_it_goes():
        for _ in range(STEPS_A_PASS):
            yield batches[int(torch.randint(STEPS_A_PASS, ()))]

    def drawing_when_called():
        order = torch.randperm(STEPS_A_PASS).tolist()
        return (batches[i] for i in order)

    def loader(**options):
        return DataLoader(data, batch_size=8, drop_last=True, **options)

    shared = loader(shuffle=True, generator=torch.Generator().manual_seed(4))
    return {
        "list": lambda: batches,
        "shuffling": lambda: loader(shuffle=True),
        "own generator": lambda: loader(shuffle=True, generator=torch.Generator().manual_seed(4)),
        "one shared loader": lambda: shared,
        "own sampler": lambda: loader(
            sampler=WeightedRandomSampler(torch.ones(60), 56, generator=torch.Generator().manual_seed(4))
        ),
        "generator drawing as it goes": drawing_as_it_goes,
        "generator drawing when called": drawing_when_called,
    }[kind]


KINDS = [
    "list",
    "shuffling",
    "own generator",
    "one shared loader",
    "own sampler",
    "generator drawing as it goes",
    "generator drawing when called",
]


@pytest.fixture
def undisturbed_and_resumed(weights):
    """Trains to the end, and again: up to `at`, saved, loaded, and to the end in a training made anew."""

    def run(workload, schedule, at, **options):
        whole = lrs.train(workload, schedule, **options)
        evaluations = list(whole)
        begun = lrs.train(workload, schedule, **options)
        for _ in range(at):
            next(begun)
        buffer = io.BytesIO()
        torch.save(begun.state_dict(), buffer)
        list(begun)  # it goes on itself, which must not matter
        buffer.seek(0)
        resumed = lrs.train(workload, schedule, **options)
        resumed.load_state_dict(torch.load(buffer, weights_only=True))
        rest = list(resumed)
        assert repr(rest) == repr(evaluations[at:])
        assert (resumed.stopped, resumed.step) == (whole.stopped, whole.step)
        return whole, resumed

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("eval_every", "at"),
    [
        (3, 0),  # before the first evaluation
        (3, 1),  # at step 0
        (3, 2),  # in the middle of the first pass
        (7, 2),  # at its end
        (5, 3),  # in the middle of the second
        (20, 2),  # at the end of the training
    ],
)
def test_goes_on_with_the_same_bits(
    make_workload, examples, constant, undisturbed_and_resumed, weights, same_bits, kind, eval_every, at
):
    workload = make_workload(train_data=loaders(kind, examples), eval_every=eval_every)
    whole, resumed = undisturbed_and_resumed(workload, constant(), at, seed=2)
    assert same_bits(weights(resumed.model), weights(whole.model))


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": torch.optim.AdamW},
        {"optimizer": torch.optim.RMSprop},
        {"accumulate": 3},
        {"clip_norm": 0.1},
        {"precision": "bf16"},
        {"precision": "fp16"},  # its GradScaler's state too
    ],
    ids=case_id,
)
def test_goes_on_with_the_same_bits_under_every_setting(
    make_workload, undisturbed_and_resumed, weights, same_bits, changes
):
    schedule = Triangular(base_lr=0.005, max_lr=0.02, step_size=2.5)
    whole, resumed = undisturbed_and_resumed(make_workload(**changes), schedule, 3, snapshots=2)
    assert same_bits(weights(resumed.model), weights(whole.model))
    assert [kept.step for kept in resumed.snapshots] == [15, 20]
    for ours, theirs in zip(resumed.snapshots, whole.snapshots, strict=True):
        assert same_bits(ours.weights, theirs.weights)


def test_a_scale_that_has_fallen_goes_along(
    make_workload, constant, cross_entropy, undisturbed_and_resumed, weights, same_bits
):
    """Gradients too large for fp16 at the scale it starts with, 65536: the first steps only halve it."""
    workload = make_workload(precision="fp16", loss=lambda model, batch: 50 * cross_entropy(model, batch))
    whole, resumed = undisturbed_and_resumed(workload, constant(0.001), 3)
    scale = whole.state_dict()["scaler"]["scale"]
    assert scale < 65536
    assert resumed.state_dict()["scaler"]["scale"] == scale
    assert same_bits(weights(resumed.model), weights(whole.model))


def test_snapshots_from_before_are_kept(make_workload, undisturbed_and_resumed, same_bits):
    schedule = Triangular(base_lr=0.005, max_lr=0.02, step_size=5)
    whole, resumed = undisturbed_and_resumed(make_workload(), schedule, 2, snapshots=2)
    assert [kept.step for kept in resumed.snapshots] == [10, 20]
    assert same_bits(resumed.snapshots[0].weights, whole.snapshots[0].weights)


def test_buffers_that_are_not_persistent_go_along(make_workload, constant, undisturbed_and_resumed):
    class Counting(nn.Linear):
        """Scales its output by how often it was called."""

        def __init__(self):
            super().__init__(6, 3)
            self.register_buffer("calls", torch.zeros(()), persistent=False)

        def forward(self, inputs):
            if self.training:
                self.calls += 1
            return super().forward(inputs) * (1 + self.calls)

    _, resumed = undisturbed_and_resumed(make_workload(model=Counting), constant(0.001), 3)
    assert float(resumed.model.calls) == 20


def test_a_training_that_has_begun_goes_back(make_workload, examples, constant, weights, same_bits):
    for kind in KINDS:
        training = lrs.train(make_workload(train_data=loaders(kind, examples)), constant())
        start = copy.deepcopy(training.state_dict())
        evaluations = [next(training), next(training), next(training)]
        middle = copy.deepcopy(training.state_dict())
        evaluations += list(training)
        final = weights(training.model)
        training.load_state_dict(middle)
        assert repr(list(training)) == repr(evaluations[3:])
        assert same_bits(weights(training.model), final)
        training.load_state_dict(start)
        assert repr(list(training)) == repr(evaluations)
        assert same_bits(weights(training.model), final)


def test_a_closed_training_goes_on_from_a_state(make_workload, constant, trained):
    _, evaluations, _ = trained(make_workload(), constant())
    training = lrs.train(make_workload(), constant())
    next(training)
    state = copy.deepcopy(training.state_dict())
    training.close()
    training.load_state_dict(state)
    assert repr(list(training)) == repr(evaluations[1:])


def test_a_diverged_training_stays_diverged(make_workload, constant):
    workload = make_workload(loss=lambda model, batch: model(batch[0]).square().mean(), eval_every=100, num_steps=100)
    training = lrs.train(workload, constant(1e6))
    assert [e.step for e in training] == [0]
    other = lrs.train(workload, constant(1e6))
    other.load_state_dict(training.state_dict())
    assert list(other) == []
    assert (other.stopped, other.reason, other.step) == ("diverged", training.reason, training.step)


def test_loading_leaves_the_callers_random_state_alone(make_workload, constant, seed_all, global_rng):
    training = lrs.train(make_workload(), constant())
    steps = [next(training).step, next(training).step]
    seed_all(8)
    before = global_rng()
    training.load_state_dict(training.state_dict())
    assert global_rng() == before
    assert steps == [0, 5]


def test_the_state_holds_plain_containers_numbers_and_tensors_only(make_workload, constant):
    schedule = Triangular(base_lr=0.005, max_lr=0.02, step_size=2.5)
    training = lrs.train(make_workload(precision="fp16"), schedule, snapshots=1)
    steps = [next(training).step, next(training).step]

    def types(value):
        if isinstance(value, dict):
            return {type(value)}.union(*map(types, value.keys()), *map(types, value.values()))
        if isinstance(value, list | tuple):
            return {type(value)}.union(*map(types, value))
        return {type(value)}

    allowed = {dict, list, tuple, str, int, float, bool, type(None), torch.Tensor}
    state = training.state_dict()
    assert types({key: value for key, value in state.items() if key != "model"}) <= allowed
    assert types(dict(state["model"])) <= allowed  # itself torch's OrderedDict
    assert steps == [0, 5]
