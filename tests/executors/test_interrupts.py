"""Ctrl-C while a trial is being taken puts it back."""

import signal
import threading

import optuna
import pytest

import lr_search as lrs
from lr_search.executors.interrupts import interrupts_held
from lr_search.samplers import RandomSampler
from tests.helpers.workloads import line


@pytest.fixture(autouse=True)
def interruptible():
    """A process started in the background ignores Ctrl-C from the start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_held_interrupt_comes_at_the_end_of_the_block() -> None:
    passed = []

    def work() -> None:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            passed.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert passed == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_changes_in_any_thread() -> None:
    passed: list[bool] = []

    def work() -> None:
        with interrupts_held():
            passed.append(True)

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert passed == [True, True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Interrupting(RandomSampler):
    """Ctrl-C in the middle of an ask, once."""

    did = False

    def point(self, number, name, distribution):  # type: ignore[no-untyped-def]
        if number == 1 and not Interrupting.did:
            Interrupting.did = True  # each study gets a copy of the sampler
            signal.raise_signal(signal.SIGINT)
        return super().point(number, name, distribution)


def test_an_interrupt_while_a_trial_is_taken_puts_it_back() -> None:
    storage, sampler = optuna.storages.InMemoryStorage(), Interrupting()
    settings = {"strategies": {"mine": sampler}, "schedules": ["constant"], "seeds": 1, "budget": 3, "storage": storage}
    with pytest.raises(KeyboardInterrupt):
        lrs.compare(line(), **settings)  # type: ignore[arg-type]
    study = optuna.load_study(study_name="comparison/mine/constant/SGD/seed 0", storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "WAITING"]
    lrs.compare(line(), **settings)  # type: ignore[arg-type]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    assert len({trial.params["lr"] for trial in study.trials}) == 3
