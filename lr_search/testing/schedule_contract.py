"""What every schedule must do, as a suite that the tests of a schedule inherit."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest

from lr_search.arrays import FloatArray
from lr_search.errors import InvalidInputError
from lr_search.results.code.scheduler_code import scheduler_code
from lr_search.schedules.base import Schedule
from lr_search.schedules.compose import join, warmup
from lr_search.schedules.decay import Constant
from lr_search.testing.demands import must, must_agree
from lr_search.testing.plain_loops import MOMENTUM, RATIOS, TwoGroups, pasted, saved_and_loaded

WALK = 240  # steps that are looked at, whatever a schedule is made for
FROM_THE_STEP = "Compute it from the step alone, with NumPy: `values` gets an array (n,) of steps in any order."


class ScheduleContract:
    """Inherit it, and say which schedule; every test gets a new one. How it is laid out by name: `LayoutContract`.

    >>> from lr_search.schedules import Cosine
    >>> class TestCosine(ScheduleContract):
    ...     @pytest.fixture
    ...     def schedule(self):
    ...         return Cosine(lr=0.1, num_steps=100)
    """

    @pytest.fixture
    def schedule(self) -> Schedule:
        """The schedule under test, whose cycles (if it has any) are such that some end within 240 steps."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `schedule`.")

    # a pure function of the step

    def test_it_is_a_frozen_dataclass(self, schedule: Schedule) -> None:
        """So that it pickles, compares by value, and cannot change under a training."""
        must(isinstance(schedule, Schedule), "a schedule must inherit lr_search.schedules.Schedule", got=schedule)
        frozen = dataclasses.is_dataclass(schedule) and type(schedule).__dataclass_params__.frozen
        must(frozen, "a schedule must be a frozen dataclass", "Write @dataclass(frozen=True).", got=type(schedule))
        for field in dataclasses.fields(schedule):  # type: ignore[arg-type]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(schedule, field.name, getattr(schedule, field.name))

    def test_a_number_gives_the_float_that_an_array_gives(self, schedule: Schedule) -> None:
        """At whole and fractional steps; and the momentum likewise, None where it is left alone."""
        for steps in (np.arange(WALK), np.arange(50) + 0.37):
            lrs = [schedule(step) for step in steps.tolist()]
            momenta = [schedule.momentum(step) for step in steps.tolist()]
            kinds = {type(lr) for lr in lrs} | {type(momentum) for momentum in momenta}
            must(kinds <= {float, type(None)}, "a number must give a float", FROM_THE_STEP, types=kinds)
            rule = "a number must give what an array gives"
            must_agree(schedule(steps), lrs, rule, FROM_THE_STEP, rtol=1e-13, atol=1e-16)
            alone = [math.nan if momentum is None else momentum for momentum in momenta]
            must_agree(schedule.momentum(steps), alone, rule, FROM_THE_STEP, rtol=1e-13)

    def test_an_array_keeps_its_shape_and_may_be_in_any_order(self, schedule: Schedule) -> None:
        """No step's LR depends on those around it."""
        steps = np.arange(WALK)
        for method in (schedule, schedule.momentum):
            found = method(steps)
            must(found.dtype == np.float64, "an array must give an array of float64", FROM_THE_STEP, dtype=found.dtype)
            rule = "an array must keep its shape and may be in any order"
            for shape in ((4, 60), (2, 3, 40)):
                must_agree(method(steps.reshape(shape)), found.reshape(shape), rule, FROM_THE_STEP)
            must_agree(method(steps[::-1].tolist()), found[::-1], rule, FROM_THE_STEP)
            must_agree(method(np.empty((0, 3))), np.empty((0, 3)), rule, FROM_THE_STEP)

    def test_the_same_step_always_gives_the_same_lr(self, schedule: Schedule) -> None:
        """Whatever was asked before."""
        first = schedule(np.arange(WALK)), schedule.momentum(np.arange(WALK))
        schedule(10**6)
        for found, wanted in zip((schedule(np.arange(WALK)), schedule.momentum(np.arange(WALK))), first, strict=True):
            must_agree(found, wanted, "the same step must always give the same LR and momentum", FROM_THE_STEP)

    def test_an_lr_is_never_negative_and_never_nan_however_far_on(self, schedule: Schedule) -> None:
        """A training may be longer than a schedule."""
        steps = np.array([*range(WALK), WALK + 0.5, 1000, 123_456, 10**7])
        lrs = schedule(steps)
        bad = ~(np.isfinite(lrs) & (lrs >= 0))
        at = int(np.argmax(bad))
        rule = "an LR must be at least 0, and finite, however far on"
        must(not bad.any(), rule, "Hold the last LR.", step=float(steps[at]), lr=float(lrs[at]))
        momenta = schedule.momentum(steps)
        moved = momenta[~np.isnan(momenta)]
        good = bool(((moved >= 0) & (moved < 1)).all())
        must(good, "a momentum must be at least 0 and below 1, or nan where it is left alone", momenta=moved.tolist())

    def test_a_step_that_is_none_is_an_error(self, schedule: Schedule) -> None:
        """The message is the rule and what came."""
        for step in (-1, -1e-9, math.nan, math.inf, [0, -1], np.array([[0.0, math.nan]])):
            for method in (schedule, schedule.momentum):
                with pytest.raises(InvalidInputError) as error:
                    method(step)
                assert str(error.value) == f"step must be at least 0, and finite, but got step={step!r}."

    # cycles, values, words

    def test_cycles_end_at_whole_steps_and_those_of_a_shorter_training_are_the_first(self, schedule: Schedule) -> None:
        """So that trials are evaluated and pruned at the ends of cycles."""
        ends = schedule.cycle_ends(WALK)
        must(all(type(end) is int for end in ends), "cycle_ends must give Python's ints", got=ends)
        must(ends == sorted(set(ends)), "cycle_ends must rise", got=ends)
        must(all(1 <= end <= WALK for end in ends), "cycle_ends must lie from 1 to num_steps", num_steps=WALK, got=ends)
        for num_steps in range(1, WALK):
            found = schedule.cycle_ends(num_steps)
            rule = "a shorter training must have the first of the same cycles, up to its last step"
            must(found == ends[: len(found)], rule, num_steps=num_steps, found=found, ends=ends)
            missing = [end for end in ends[len(found) :] if end < num_steps]  # an end may be rounded up to the last
            must(not missing and all(end <= num_steps for end in found), rule, num_steps=num_steps, found=found)

    def test_it_survives_pickling_and_equals_another_with_the_same_numbers(self, schedule: Schedule) -> None:
        """It is sent to workers, and compared with what a storage holds."""
        same = type(schedule)(**_numbers(schedule))
        for copy in (pickle.loads(pickle.dumps(schedule)), same):
            rule = "a pickled schedule, and one made of the same numbers, must equal it"
            must(copy == schedule and hash(copy) == hash(schedule), rule, "Keep numbers alone.", copy=copy, it=schedule)
            must_agree(copy(np.arange(WALK)), schedule(np.arange(WALK)), rule)
            must_agree(copy.momentum(np.arange(WALK)), schedule.momentum(np.arange(WALK)), rule)
            must(copy.cycle_ends(WALK) == schedule.cycle_ends(WALK), rule, ends=copy.cycle_ends(WALK))
        copy = pickle.loads(pickle.dumps(schedule))
        must(copy.describe() == schedule.describe(), "a pickled schedule must say the same", got=copy.describe())
        numbers: object = _numbers(schedule)
        must(schedule != numbers, "a schedule must equal schedules alone", "Leave __eq__ to dataclass.")

    def test_its_description_is_one_line(self, schedule: Schedule) -> None:
        """It stands in tables and in the report."""
        text = schedule.describe()
        rule = "describe() must give one line, not empty, without spaces at its ends"
        must(bool(text) and text == text.strip() and "\n" not in text, rule, got=text)

    # in a loop

    def test_joined_and_under_a_warm_up_it_runs_as_ever(self, schedule: Schedule) -> None:
        """Each part counts its steps from its own beginning."""
        steps, rule = np.arange(WALK), "a schedule must give the same LRs joined to others"
        for before, begun in ((join([Constant(0.1), schedule], [7]), 7), (_warmed(schedule), 5)):
            must_agree(before(steps + begun), schedule(steps), rule, FROM_THE_STEP)
            if not np.isnan(schedule.momentum(steps)).any():
                must_agree(before.momentum(steps + begun), schedule.momentum(steps), rule, FROM_THE_STEP)
        must_agree(join([schedule, Constant(0.1)], [WALK])(steps), schedule(steps), rule, FROM_THE_STEP)

    def test_attached_it_writes_what_is_written_by_hand(self, schedule: Schedule) -> None:
        """Each group's LR is the schedule times its ratio to the first group's."""
        attached, by_hand = TwoGroups(), TwoGroups()
        scheduler = schedule.attach(attached.optimizer)
        for step in range(_some_cycles(schedule)):
            by_hand.write(schedule, step)
            rule = f"attach() must write, at step {step}, what calling the schedule gives"
            must_agree(attached.written(), by_hand.written(), rule, FROM_THE_STEP, rtol=1e-12)
            lrs = [group["lr"] for group in attached.optimizer.param_groups]
            must(scheduler.get_last_lr() == lrs, "get_last_lr() must be the groups' LRs", got=scheduler.get_last_lr())
            attached.step()
            by_hand.step()
            scheduler.step()
        must_agree(attached.weights(), by_hand.weights(), "attach() must train as by hand", FROM_THE_STEP, rtol=1e-6)

    def test_a_saved_state_goes_on_in_the_middle_of_a_cycle(self, schedule: Schedule) -> None:
        """As a training that is stopped and started again does."""
        num_steps, ends = _some_cycles(schedule), schedule.cycle_ends(WALK)
        stop = next(step for step in range(num_steps // 2 + 2, num_steps) if step not in ends)
        whole, first, second = TwoGroups(), TwoGroups(), TwoGroups()
        scheduler, before = schedule.attach(whole.optimizer), schedule.attach(first.optimizer)
        _follow(whole, scheduler, stop)
        _follow(first, before, stop)
        after = schedule.attach(second.optimizer)
        second.take(first)
        after.load_state_dict(saved_and_loaded(before.state_dict()))
        rule = "a state that was saved and loaded must go on where it was"
        for step in range(stop, num_steps):
            must_agree(second.written(), whole.written(), rule, FROM_THE_STEP)
            lrs = [schedule(step) * ratio for ratio in RATIOS]
            must_agree(second.written()[:2], lrs, rule, FROM_THE_STEP)
            must_agree([float(lr) for lr in after.get_last_lr()], lrs, rule, FROM_THE_STEP)
            _follow(whole, scheduler, 1)
            _follow(second, after, 1)
        must_agree(second.weights(), whole.weights(), rule, FROM_THE_STEP)

    def test_its_code_run_in_plain_torch_gives_its_own_lrs(self, schedule: Schedule) -> None:
        """`torch_call` and `factor_lines`, which a recommendation is pasted from; a schedule may define neither."""
        for num_steps in (7, WALK):
            for ratios in (RATIOS[:1], RATIOS):
                code = scheduler_code(schedule, num_steps, groups=len(ratios))
                if code is not None:
                    _require_code(schedule, num_steps, pasted(code, num_steps, ratios), ratios)
                    must("lr_search" not in code.lines, "the code must need torch alone", got=code.lines)


def _numbers(schedule: Any) -> dict[str, Any]:
    """What counts for its equality."""
    return {field.name: getattr(schedule, field.name) for field in dataclasses.fields(schedule) if field.compare}


def _warmed(schedule: Schedule) -> Schedule:
    """Under a warm-up of 5 steps; one that begins at 0 cannot be led to, and has 5 others before it."""
    return warmup(schedule, 5) if schedule(0) > 0 else join([Constant(0.1), schedule], [5])


def _some_cycles(schedule: Schedule) -> int:
    """The steps of its first three cycles; for one without so many, enough to see most of it."""
    ends = schedule.cycle_ends(WALK)
    return ends[2] if len(ends) >= 3 else 110


def _follow(loop: TwoGroups, scheduler: Any, num_steps: int) -> None:
    for _ in range(num_steps):
        loop.step()
        scheduler.step()


def _require_code(schedule: Schedule, num_steps: int, rows: FloatArray, ratios: tuple[float, ...]) -> None:
    steps = np.arange(num_steps)
    lrs, momenta = schedule(steps), schedule.momentum(steps)
    remedy = "torch_call and factor_lines must give what values and momenta give; where they cannot, None."
    for group, ratio in enumerate(ratios):
        rule = f"the code for {num_steps} steps must give, at each step, the schedule's LR times {ratio:g}"
        must_agree(rows[:, group], ratio * lrs, rule, remedy, rtol=1e-9, atol=1e-12 * float(lrs.max()))
    moved = np.where(np.isnan(momenta).all(), MOMENTUM, momenta)
    held = ~np.isnan(moved)
    rule = f"the code for {num_steps} steps must give, at each step, the schedule's momentum"
    must_agree(rows[held, len(ratios)], moved[held], rule, remedy, rtol=1e-9)
