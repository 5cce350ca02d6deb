"""What docs/trainers.md prints for Keras works as printed."""

import pytest

import lr_search as lrs
from tests.lr_search_keras.keras_models import compiled, data
from tests.test_readme import printed_with

pytestmark = [
    pytest.mark.trainers,
    pytest.mark.usefixtures("keras"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # of Keras's progress bar, under NumPy 2
]


def names(keras):
    def make_model():
        return compiled(keras.optimizers.Adam(0.01), seed=None)

    x, y = data()
    return {"lrs": lrs, "make_model": make_model, "model": make_model(), "x": x, "y": y, "valid": (x, y)}


def test_the_callbacks_find_an_lr_and_follow_a_schedule(keras, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(printed_with("model.fit(x, y, batch_size=32, epochs=3, callbacks=[test"), names(keras))
    assert "It is for 15 steps of cosine." in capsys.readouterr().out
    assert (tmp_path / "range_test.png").stat().st_size > 5_000


def test_a_fit_is_a_trial(keras, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = names(keras)
    exec(printed_with("make_model().fit(").replace("budget=3", "budget=2.5, seeds=1"), found)
    trials = found["comparison"].trials
    assert set(trials["steps"][trials["outcome"] == "finished"]) == {30}
