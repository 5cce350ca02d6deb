"""What docs/trainers.md prints for skorch works as printed."""

import functools

import pytest

import lr_search as lrs
from tests.lr_search_skorch.test_skorch_range_test import data, net
from tests.test_readme import printed_with

pytestmark = pytest.mark.trainers

NAMES = {"make_net": functools.partial(net, seed=None), "lrs": lrs}


def test_the_callbacks_find_an_lr_and_follow_a_schedule(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(printed_with("net = make_net(callbacks=[test"), {**NAMES, "X": data()[0], "y": data()[1]})
    assert "It is for 24 steps of cosine." in capsys.readouterr().out
    assert (tmp_path / "range_test.png").stat().st_size > 5_000


def test_a_fit_is_a_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {**NAMES, "X": data()[0], "y": data()[1]}
    exec(printed_with("make_net(callbacks=[Schedule(run=run)])").replace("budget=3", "budget=2, seeds=1"), names)
    trials = names["comparison"].trials
    assert set(trials["steps"][trials["outcome"] == "finished"]) == {24}
