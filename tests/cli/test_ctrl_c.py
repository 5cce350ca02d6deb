"""Ctrl-C that is noted, not raised."""

import signal
import weakref

import pytest

from lr_search.cli.ctrl_c import ctrl_c_noted


class Thing:
    """What a weak reference can point at."""


@pytest.fixture(autouse=True)
def heeded():  # what runs in the background of a shell ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_is_not_lost_where_an_exception_would_be():
    with ctrl_c_noted() as noted:
        thing = Thing()
        watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        assert not noted.is_set()
        del thing
        assert watched() is None
        assert noted.is_set()


def test_waiting_ends_with_it():
    with ctrl_c_noted() as noted:
        before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert noted.wait(60)
        signal.signal(signal.SIGALRM, before)


def test_a_second_one_is_an_exception_again():
    with ctrl_c_noted() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_where_it_is_ignored_it_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with ctrl_c_noted() as noted:
        signal.raise_signal(signal.SIGINT)
        assert not noted.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_afterwards_all_is_as_before():
    with ctrl_c_noted():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
