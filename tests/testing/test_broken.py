"""What breaks a contract fails it, with a message that has the rule, what came, and what to do."""

import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler

from lr_search.arrays import FloatArray
from lr_search.executors import Executor, LocalExecutor
from lr_search.executors.progress import Progress
from lr_search.samplers import FixedSampler, GridSampler, PerTrialSampler, PointSampler, RandomSampler, Strategy
from lr_search.samplers.points import at_share
from lr_search.schedules import Constant, Cosine, Schedule
from lr_search.schedules.layout import Range, searchable
from lr_search.studies.study import StudyTask
from lr_search.testing import ExecutorContract, LayoutContract, SamplerContract, ScheduleContract, StrategyContract
from lr_search.testing.small_comparisons import following


def fails(message: str, test: Callable[..., None], *arguments: Any) -> None:
    with pytest.raises(AssertionError) as error:
        test(*arguments)
    assert re.search(message, str(error.value)), str(error.value)


# --- schedules


@dataclass(frozen=True)
class Sound(Schedule):
    """Falls in a line and holds its end; what is derived from it breaks one rule each."""

    lr: float = 0.1

    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr * np.maximum(1 - steps / 300, 0.1)

    def describe(self) -> str:
        return "sound"


class Shared(Sound):
    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr * (1 - steps / (1 + steps.max(initial=0)))


class Sorted(Sound):
    def values(self, steps: FloatArray) -> FloatArray:
        return np.sort(super().values(steps))[::-1]


class Counted(Sound):
    calls: list[int] = []  # noqa: RUF012

    def values(self, steps: FloatArray) -> FloatArray:
        self.calls.append(1)
        return super().values(steps) / len(self.calls)


class Below(Sound):
    def values(self, steps: FloatArray) -> FloatArray:
        return self.lr * (1 - steps / 300)


class Heavy(Sound):
    def momenta(self, steps: FloatArray) -> FloatArray:
        return np.full(steps.shape, 1.5)


class Unordered(Sound):
    def cycle_ends(self, num_steps: int) -> list[int]:
        return [20, 10]


class Late(Sound):
    def cycle_ends(self, num_steps: int) -> list[int]:
        return [num_steps // 2]


class Wordy(Sound):
    def describe(self) -> str:
        return "two\nlines"


class Identity(Sound):
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Miswritten(Sound):
    def factor_lines(self, lr: float, num_steps: int) -> list[str]:
        return ["return 1 - step / 200"]


class Attached(Sound):
    def attach(self, optimizer: Any, last_epoch: int = -1) -> Any:
        return Constant(0.1).attach(optimizer, last_epoch)


class Loose(Schedule):
    def values(self, steps: FloatArray) -> FloatArray:
        return np.full(steps.shape, 0.1)

    def describe(self) -> str:
        return "no dataclass"


SCHEDULES: list[tuple[type[Schedule], str, str]] = [
    (Loose, "test_it_is_a_frozen_dataclass", r"must be a frozen dataclass, but got .*Loose.*Write @dataclass"),
    (
        Shared,
        "test_a_number_gives_the_float_that_an_array_gives",
        r"what an array gives, but got at=1, found=0\.09.*from the step alone",
    ),
    (Sorted, "test_an_array_keeps_its_shape_and_may_be_in_any_order", r"may be in any order, but got at=0"),
    (Counted, "test_the_same_step_always_gives_the_same_lr", r"must always give the same LR .*found=.*wanted="),
    (Below, "test_an_lr_is_never_negative_and_never_nan_however_far_on", r"at least 0.*step=1000\.0.*Hold the last LR"),
    (Heavy, "test_an_lr_is_never_negative_and_never_nan_however_far_on", r"a momentum must be at least 0 and below 1"),
    (
        Unordered,
        "test_cycles_end_at_whole_steps_and_those_of_a_shorter_training_are_the_first",
        r"must rise, but got \[20",
    ),
    (Late, "test_cycles_end_at_whole_steps_and_those_of_a_shorter_training_are_the_first", r"first of the same cycles"),
    (Wordy, "test_its_description_is_one_line", r"describe\(\) must give one line.*two"),
    (Identity, "test_it_survives_pickling_and_equals_another_with_the_same_numbers", r"must equal it, but got copy="),
    (Attached, "test_attached_it_writes_what_is_written_by_hand", r"at step 1, what calling the schedule gives"),
    (
        Miswritten,
        "test_its_code_run_in_plain_torch_gives_its_own_lrs",
        r"the code for 7 steps.*but got at=.*torch_call",
    ),
]


@pytest.mark.parametrize(
    ("kind", "test", "message"), SCHEDULES, ids=[f"{kind.__name__}, {test}" for kind, test, _ in SCHEDULES]
)
def test_a_broken_schedule_fails(kind: type[Schedule], test: str, message: str) -> None:
    fails(message, getattr(ScheduleContract(), test), kind())


def test_the_schedule_that_they_derive_from_is_sound() -> None:
    for name in dir(ScheduleContract):
        if name.startswith("test_"):
            getattr(ScheduleContract(), name)(Sound())


def doubled(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    return Constant(2 * lr)


def fixed(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    return Cosine(lr, 300) if num_steps >= 300 else Constant(lr / num_steps)


def dividing(lr: float, num_steps: int, steps_per_epoch: float | None = None) -> Schedule:
    return Cosine(lr, num_steps / (num_steps // 10))


@searchable(ratio=Range(0.5, 2.0))
def scaled(lr: float, num_steps: int, steps_per_epoch: float | None = None, *, ratio: float = 1.0) -> Schedule:
    return Constant(lr * ratio)


def swallowing(lr: float, num_steps: int, steps_per_epoch: float | None = None, **options: Any) -> Schedule:
    return Constant(lr)


def demanding(lr: float, num_steps: int, steps_per_epoch: float | None, scale: float) -> Schedule:
    return Constant(lr * scale)


LAYOUTS: list[tuple[Callable[..., Schedule], str, str]] = [
    (
        doubled,
        "test_the_lr_asked_for_is_the_peak",
        r"peak must be the lr asked for.*lr=0\.2, peak=0\.4.*scale the shape",
    ),
    (fixed, "test_the_lr_asked_for_is_the_peak", r"peak must be the lr asked for.*num_steps=15"),
    (
        dividing,
        "test_a_training_too_short_is_an_error_of_this_package_or_has_its_schedule",
        r"InvalidInputError, but got num_steps=1.*ZeroDiv",
    ),
    (scaled, "test_everywhere_in_the_ranges_that_are_searched_the_lr_is_the_peak", r"peak must be .*ratio=0\.5"),
    (swallowing, "test_an_option_that_it_does_not_have_is_an_error_that_lists_those_it_has", r"must name its options"),
    (
        demanding,
        "test_it_takes_the_peak_the_length_and_the_epoch_then_options",
        r"must have defaults, but got \['scale'\]",
    ),
]


@pytest.mark.parametrize(("layout", "test", "message"), LAYOUTS, ids=[layout.__name__ for layout, _, _ in LAYOUTS])
def test_a_broken_layout_fails(layout: Callable[..., Schedule], test: str, message: str) -> None:
    fails(message, getattr(LayoutContract(), test), layout)


# --- samplers


class Beyond(PointSampler):
    """Leaves the range."""

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        return at_share(distribution, 0.5) * (100 if number == 5 else 1) * 1e3**number


class Unseeded(PointSampler):
    """Draws from what nobody seeded."""

    def point(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        return at_share(distribution, float(np.random.default_rng().random()))


class Stubborn(TPESampler):
    """Leaves the range once a trial diverged."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if param_name == "lr" and any(t.values and math.isinf(t.values[0]) for t in study.trials):
            return 1e9
        return super().sample_independent(study, trial, param_name, param_distribution)


class SaidToBeIndependent(SamplerContract):
    independent = None


def stateful(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


SAMPLERS: list[tuple[Callable[[int], BaseSampler], str, tuple[Any, ...], str]] = [
    (
        lambda seed: Beyond(seed=seed),
        "test_every_parameter_of_every_trial_is_inside_its_range",
        (),
        r"inside its distribution, but got lr=",
    ),
    (
        lambda seed: Unseeded(seed=seed),
        "test_a_seed_always_gives_the_same_points",
        (),
        r"same seed must give.*Draw from a generator",
    ),
    (
        stateful,
        "test_a_restart_goes_on_as_an_undisturbed_study",
        ((5, 4),),
        r"must go on as an undisturbed.*PerTrialSampler its class",
    ),
    (
        stateful,
        "test_two_workers_on_one_storage_give_the_points_of_one",
        (),
        r"two workers on one storage must give.*PerTrialSampler",
    ),
    (stateful, "test_pickling_and_reseeding_change_no_point", (), r"reseed_rng\(\) must change no point"),
    (
        lambda seed: Stubborn(seed=seed),
        "test_it_goes_on_after_trials_that_diverged_failed_or_were_pruned",
        ("minimize",),
        r"inside its range, but got number=2, lr=1000000000",
    ),
]


@pytest.mark.parametrize(("make", "test", "more", "message"), SAMPLERS, ids=[test for _, test, _, _ in SAMPLERS])
def test_a_broken_sampler_fails(
    make: Callable[[int], BaseSampler], test: str, more: tuple[Any, ...], message: str
) -> None:
    fails(message, getattr(SamplerContract(), test), make, *more)


def test_a_sampler_that_is_not_as_independent_as_it_says_fails() -> None:
    contract = SaidToBeIndependent()
    test = contract.test_trials_that_run_side_by_side_have_the_points_of_their_numbers
    test(lambda seed: RandomSampler(seed=seed))
    make = partial(PerTrialSampler, partial(TPESampler, n_startup_trials=1))
    fails(r"the first 6 LRs must depend on the seed and the trial's number alone", test, make)


# --- strategies

SHARED = RandomSampler(seed=3)
STRATEGIES: list[tuple[Strategy, str, str]] = [
    (Strategy("a/b", lambda search: GridSampler(4), "words"), "test_what_it_declares_can_be", r"must not hold a slash"),
    (
        Strategy("a", lambda search: GridSampler(4)),
        "test_what_it_declares_can_be",
        r"describe must be one line, not empty, but got ''",
    ),
    (
        Strategy("a", lambda search: SHARED),
        "test_each_study_gets_a_sampler_of_its_own",
        r"a sampler of its own, but got .*within the function",
    ),
    (
        Strategy("a", lambda search: GridSampler(4), first_round=lambda search: 10 * search.num_trials),
        "test_its_first_round_is_paid_for",
        r"first_round=60, cost=600, budget=180",
    ),
    (
        Strategy("a", lambda search: Unseeded(seed=search.seed)),
        "test_the_same_seed_gives_the_same_points_inside_the_range",
        r"the same seed must give",
    ),
    (
        Strategy("a", lambda search: FixedSampler(50.0)),
        "test_the_same_seed_gives_the_same_points_inside_the_range",
        r"inside the range, but got low=1e-05, high=10.0",
    ),
    (
        Strategy("a", lambda search: FixedSampler(0.2), fixed_lr=0.1),
        "test_the_same_seed_gives_the_same_points_inside_the_range",
        r"the one LR that it says, but got says=0\.1",
    ),
    (
        Strategy("a", lambda search: PerTrialSampler(partial(TPESampler, n_startup_trials=2)), independent=12),
        "test_the_points_that_it_says_are_independent_depend_on_no_result",
        r"the first 12 points must depend on no result.*Say a lower number",
    ),
    (
        Strategy("a", lambda search: stateful(search.seed)),
        "test_a_restart_goes_on_as_an_undisturbed_study",
        r"a restart must go on.*PerTrialSampler",
    ),
]


@pytest.mark.parametrize(("strategy", "test", "message"), STRATEGIES, ids=[test for _, test, _ in STRATEGIES])
def test_a_broken_strategy_fails(strategy: Strategy, test: str, message: str) -> None:
    if "slash" in message:
        with pytest.raises(Exception, match=message):
            getattr(StrategyContract(), test)(strategy)
        return
    fails(message, getattr(StrategyContract(), test), strategy)


# --- executors


class Losing(LocalExecutor):
    """Forgets the last study."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        super().run(tasks[:-1], progress)


class Leaving(LocalExecutor):
    """Goes away with a trial that it has taken."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        tasks[0].ask()


class Silent(LocalExecutor):
    """Tells nothing of its trials."""

    def run(self, tasks: Sequence[StudyTask], progress: Progress) -> None:
        super().run(tasks, Progress(0, 0, shown=False))


def broken(kind: type[Executor]) -> ExecutorContract:
    class Broken(ExecutorContract):
        def executor(self) -> Executor:
            return kind()

    return Broken()


def test_an_executor_that_loses_a_trial_fails() -> None:
    test = broken(Losing).test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone
    fails(r"must find what LocalExecutor finds.*trials has 3 rows where 4 are wanted", test)


def test_an_executor_that_leaves_a_trial_running_fails() -> None:
    test = broken(Leaving).test_divergence_is_a_complete_trial_and_leaves_its_neighbours_alone
    fails(r"must return when all trials have ended, but got states=\{'RUNNING': 1\}\. Call job\.finish", test)


def test_an_executor_that_tells_nothing_fails() -> None:
    with following() as followed:
        test = broken(Silent).test_progress_is_told_of_every_trial
        fails(r"progress must be told of every trial, but got begun=\[\].*Call progress\.begin", test, followed)


# --- the package


def test_importing_the_contracts_needs_pytest_and_loads_nothing_that_draws() -> None:
    code = (
        "import sys\n"
        "sys.modules['pytest'] = None\n"
        "try:\n"
        "    import lr_search.testing\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)\n"
        "del sys.modules['pytest']\n"
        "from lr_search.testing import ScheduleContract\n"
        "print(*({'ray', 'matplotlib', 'jinja2'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "MissingPackageError lr_search.testing needs pytest: pip install pytest\n\n"


def test_an_executor_that_is_not_said_is_an_error_that_says_what_to_define() -> None:
    with pytest.raises(NotImplementedError, match=r"ExecutorContract must define the method `executor`\."):
        ExecutorContract().executor()
