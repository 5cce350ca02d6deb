"""lr-search range-test: what it prints, draws and saves."""

import math
import re

import numpy as np
import pytest

import lr_search as lrs
from lr_search.curves.gain_crossing import gain_crossing
from tests.helpers.command_line import write

BAR = re.compile(r"\r|\d+%\||it/s|step/s|trials:")
CLASSES = """
_classes = (torch.cat([_inputs, _inputs**2], 1), (_inputs[:, 0] > 0.3).long())
classes = lrs.classification(
    model=lambda: nn.Linear(2, 2), optimizer=torch.optim.SGD, train=_classes, valid=_classes,
    batch_size=16, num_steps=20, eval_every=5, device="cpu",
)
"""


def told(result):
    """What was printed: name -> text. The names stand in a column of their own."""
    assert not BAR.search(result.output)
    return {line[:15].rstrip(): line[15:] for line in result.stdout.splitlines()}


def test_it_prints_its_suggestion_and_writes_curve_and_picture(cli, folder):
    result = cli(
        "range-test", f"{write(folder)}:good", "--rule", "steepest", "--num-steps", "60", "--seed", "3",
        "--save", "new/curve.json", "--plot", "new/curve.png",
    )  # fmt: skip
    curve = lrs.LRCurve.load(folder / "new" / "curve.json")
    suggestion, (base_lr, max_lr), phases = curve.suggest("steepest"), curve.bounds(), curve.phases()
    assert told(result) == {
        "learning rate": f"{suggestion.lr:.3g}, give or take a factor of {10**suggestion.log10_std:.2g}",
        "status": f"{suggestion.status} (rule steepest)",
        "bounds": f"{base_lr:.3g} to {max_lr:.3g} (base_lr and max_lr for cycles)",
        "phases": f"too slow below {phases.descent_lr:.3g}, blowing up above {phases.blow_up_lr:.3g}",
        "gain ratio": f"1/2 at {gain_crossing(curve):.3g}, 0 at {gain_crossing(curve, 0.0):.3g} (edge of stability)",
        # every step's gain ratio is a forward pass, and the first is made twice to see whether it can be repeated
        "cost": f"{curve.num_steps + math.ceil((curve.num_steps + 1) / 3)} steps ({curve.num_steps} taken; "
        f"{math.ceil((curve.num_steps + 1) / 3)} for forward passes beyond those)",
        "reason": suggestion.reason,
        "curve": "new/curve.json",
        "picture": "new/curve.png",
    }
    assert (folder / "new" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert curve.lr[0] == pytest.approx(1e-7)


def test_its_reason_names_the_option_for_another_schedule(cli, folder):
    found = told(cli("range-test", f"{write(folder)}:good", "--num-steps", "20"))
    assert "of a decaying schedule; --schedule tells another." in found["reason"]
    found = told(cli("range-test", f"{write(folder)}:good", "--num-steps", "20", "--schedule", "cosine"))
    assert " steps of cosine." in found["reason"]


def test_every_option_reaches_the_range_test(cli, folder):
    cli(
        "range-test", f"{write(folder, CLASSES)}:classes", "--start-lr", "0", "--end-lr", "2", "--num-steps", "30",
        "--ramp", "linear", "--no-gain-ratio", "--valid-batches", "2", "--save", "curve.json",
    )  # fmt: skip
    curve = lrs.LRCurve.load(folder / "curve.json")
    assert curve.lr == pytest.approx(np.linspace(0, 2, 30)[: len(curve.lr)])
    assert curve.ramp == "linear"
    assert curve.gain_ratio is None
    assert set(curve.metrics) == {"valid_loss", "valid_accuracy"}


@pytest.mark.parametrize(("options", "measured"), [([], True), (["--gain-ratio"], True), (["--no-gain-ratio"], False)])
def test_the_gain_ratio_can_be_had_or_left_out(options, measured, cli, folder):
    found = told(cli("range-test", f"{write(folder)}:good", "--num-steps", "20", *options))
    assert ("gain ratio" in found) == measured
    assert ("forward passes" in found["cost"]) == measured


def test_several_seeds_are_pooled_and_each_has_its_say(cli, folder):
    name = write(folder)
    found = told(cli("range-test", f"{name}:good", "--seeds", "3", "--seed", "4", "--save", "pooled.json"))
    pooled = lrs.LRCurve.load(folder / "pooled.json")
    assert len(pooled.members) == 3
    alone = [f"{member.suggest().lr:.3g}" for member in pooled.members]
    assert found["seeds"] == f"3, alone they suggest {', '.join(alone)}"
    assert found["cost"].startswith(f"{pooled.steps_charged} steps")
    cli("range-test", f"{name}:good", "--seed", "5", "--save", "second.json")
    np.testing.assert_allclose(
        lrs.LRCurve.load(folder / "second.json").loss, pooled.members[1].loss, rtol=1e-3
    )  # fused


def test_a_ramp_that_ends_too_soon_is_told_and_extended_on_request(cli, folder):
    name, soon = write(folder), ("--end-lr", "0.001", "--num-steps", "40")
    short = told(cli("range-test", f"{name}:good", *soon, "--save", "short.json"))
    assert not short["status"].startswith("ok")  # and the exit code is 0 all the same
    assert "no blow-up" in short["phases"]
    extended = told(cli("range-test", f"{name}:good", *soon, "--extend", "--save", "long.json"))
    ends = [lrs.LRCurve.load(folder / file).lr[-1] for file in ("short.json", "long.json")]
    assert ends[0] == pytest.approx(0.001)
    assert ends[1] > 0.01
    assert "blowing up above" in extended["phases"]


def test_the_picture_shows_the_rule_that_was_asked_for_and_the_step(cli, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        lrs.LRCurve,
        "plot",
        lambda curve, plot=lrs.LRCurve.plot, **options: asked.append(options) or plot(curve, **options),
    )
    cli(
        "range-test", f"{write(folder)}:good", "--num-steps", "20", "--rule", "valley", "--plot", "curve.png",
        "--lr-against-step",
    )  # fmt: skip
    assert asked == [{"rule": "valley", "lr_against_step": True}]


def test_a_rule_that_does_not_exist_is_found_out_before_the_training(cli, folder):
    name = write(folder, "def loss(model, batch): raise ValueError('mine')\nbad = replace(good, loss=loss)")
    assert "valey" in cli("range-test", f"{name}:bad", "--rule", "valey", code=2).stderr


@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")])
def test_a_range_test_is_drawn_in_the_format_its_ending_says(ending, start, cli, folder):
    result = cli("range-test", f"{write(folder)}:good", "--num-steps", "20", "--plot", f"curve.{ending}")
    assert (folder / f"curve.{ending}").read_bytes().startswith(start)
    assert f"curve.{ending}" in result.stdout


def test_the_same_range_test_twice_is_the_same(cli, folder):
    name = write(folder)
    for file in ("one.json", "two.json"):
        cli("range-test", f"{name}:good", "--num-steps", "20", "--save", file)
    assert (folder / "one.json").read_text() == (folder / "two.json").read_text()
