"""compare(search_shape=True): the sampler also chooses how many cycles there are, and how high."""

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from typer.testing import CliRunner

import lr_search as lrs
from lr_search import plugins
from lr_search.cli import app
from lr_search.errors import InvalidInputError
from lr_search.report.figures import plot_schedules, shapes_frame
from lr_search.report.figures.panels import Panels
from lr_search.results.findings import Findings
from lr_search.schedules import SGDR, Triangular2
from lr_search.schedules.layout import Range, ranges_of
from lr_search.studies.schedule_layout import layouts_of
from tests.helpers.workloads import line

pytestmark = pytest.mark.usefixtures("quick_pictures")


def compared(**changes: Any) -> lrs.Comparison:
    settings: dict[str, Any] = {
        "strategies": ["grid", "random"], "schedules": ["constant", "triangular2", "sgdr"], "lr_range": (1e-3, 1.0), "budget": 4,
        "seeds": 2, "search_shape": True, "storage": None, "progress": False,
    }  # fmt: skip
    return lrs.compare(line(num_steps=60, eval_every=20), **(settings | changes))


@pytest.fixture(scope="module")
def comparison() -> lrs.Comparison:
    return compared()


def test_each_trial_has_a_shape_of_its_own_within_the_documented_ranges(comparison: lrs.Comparison) -> None:
    trials = comparison.trials
    for name, searched in {"triangular2": ["cycles", "base_ratio"], "sgdr": ["cycles", "T_mult", "base_ratio"]}.items():
        ranges = ranges_of(plugins.load_plugin(plugins.SCHEDULES, name))
        assert sorted(ranges) == sorted(searched)
        found = trials[trials["schedule"] == name]
        for option in searched:
            assert found[option].between(ranges[option].low, ranges[option].high).all()
            assert found[option].nunique() > 2
    assert trials.loc[trials["schedule"] == "constant", ["cycles", "T_mult", "base_ratio"]].isna().all(axis=None)


def test_a_trial_is_trained_under_the_shape_that_is_recorded(comparison: lrs.Comparison) -> None:
    evaluations = comparison.evaluations.query("metric == 'loss'")
    for trial in comparison.trials.query("schedule != 'constant' and outcome == 'finished'").itertuples():
        rows = evaluations[
            (evaluations["strategy"] == trial.strategy)
            & (evaluations["schedule"] == trial.schedule)
            & (evaluations["seed"] == trial.seed)
            & (evaluations["number"] == trial.number)
        ]
        cycles = int(trial.cycles)
        if trial.schedule == "triangular2":
            schedule: Any = Triangular2(trial.lr * trial.base_ratio, trial.lr, 60 / (2 * cycles))
        else:
            whole = sum(trial.T_mult**i for i in range(cycles))
            schedule = SGDR(trial.lr * trial.base_ratio, trial.lr, 60 / whole, trial.T_mult)
        ends = schedule.cycle_ends(60)
        assert len(ends) == cycles
        assert rows["step"].tolist() == [0, *ends]
        assert rows["lr"].tolist() == pytest.approx([schedule(max(0, step - 1)) for step in (0, *ends)])


def test_the_same_seed_chooses_the_same_shapes(comparison: lrs.Comparison) -> None:
    columns = ["lr", "cycles", "T_mult", "base_ratio", "objective"]
    assert comparison.trials[columns].equals(compared().trials[columns])


def test_the_recommendation_has_the_shape_of_the_trial_at_its_lr(comparison: lrs.Comparison, tmp_path: Path) -> None:
    only = compared(schedules=["sgdr"], strategies=["random"], seeds=1)
    best = only.recommend()
    trial = only.trials[only.trials["lr"] == best.lr].iloc[0]
    assert best.shape == {name: trial[name] for name in ("cycles", "T_mult", "base_ratio")}
    only.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert best.code.strip().splitlines()[0] in page
    pasted: dict[str, Any] = {"model": torch.nn.Linear(1, 1)}
    exec(best.code, pasted)
    optimizer, seen = pasted["optimizer"], []
    for _ in range(60):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        pasted["scheduler"].step()
    whole = sum(trial["T_mult"] ** i for i in range(int(trial["cycles"])))
    schedule = SGDR(best.lr * trial["base_ratio"], best.lr, 60 / whole, trial["T_mult"])
    assert seen == pytest.approx([schedule(step) for step in range(60)], rel=1e-3)
    assert f"sgdr (cycles {trial['cycles']:.0f}" in (tmp_path / "summary.md").read_text()


def test_a_picture_does_not_pass_the_papers_shape_off_as_the_one_that_was_trained(
    comparison: lrs.Comparison, tmp_path: Path
) -> None:
    legend = plot_schedules(shapes_frame(Panels(Findings("shapes", comparison.records)))).get_legend()
    assert legend is not None
    labels = {text.get_text().split(":")[0]: text.get_text() for text in legend.get_texts()}
    assert labels["sgdr"].endswith(", as its best training went")
    assert "training" not in labels["constant"]
    comparison.save(tmp_path)
    assert "peak of 1; searched: cycles, T_mult, base_ratio)" in (tmp_path / "report.html").read_text()


def test_what_is_confirmed_is_trained_under_its_shape() -> None:
    found = compared(schedules=["sgdr"], strategies=["random"], seeds=1, confirm=2)
    best = found.recommend()
    assert best.confirmed
    schedule = lrs.schedules.by_name("sgdr", lr=best.lr, num_steps=60, **best.shape)
    seed = int(found.confirmations["seed"].min())
    by_hand = list(lrs.train(line(num_steps=60, eval_every=20), schedule, seed=seed))[-1].metrics["loss"]
    row = found.confirmations.query("seed == @seed and lr == @best.lr").iloc[0]
    assert row["objective"] == by_hand


def test_cycle_ends_no_longer_align_for_a_pruner() -> None:
    with pytest.raises(
        InvalidInputError, match=r"search_shape must be False under a pruner.*cycle ends no longer align"
    ):
        compared(pruner=optuna.pruners.MedianPruner())


def test_there_must_be_a_shape_to_search() -> None:
    with pytest.raises(
        InvalidInputError, match=r"has a shape to search.*schedules=\['constant', 'mine'\].*exp_range"
    ) as error:
        compared(schedules={"constant": "constant", "mine": lambda lr: lrs.schedules.Constant(lr)})
    assert "triangular2" in str(error.value)


def test_a_short_training_has_room_for_fewer_cycles() -> None:
    ranges = layouts_of("triangular", line(num_steps=10, eval_every=5), search_shape=True)["triangular"].ranges
    assert ranges["cycles"] == Range(3, 5, whole=True)
    longer = layouts_of("triangular", line(num_steps=300), search_shape=True)["triangular"].ranges
    assert longer == ranges_of(plugins.load_plugin(plugins.SCHEDULES, "triangular"))
    with pytest.raises(InvalidInputError, match=r"needs at least 6 steps .*for 3 cycles"):
        layouts_of("triangular", line(num_steps=5, eval_every=5), search_shape=True)


def test_a_comparison_goes_on_only_with_the_same_kind_of_search(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    compared(storage=url, strategies=["random"], schedules=["sgdr"], seeds=1, budget=1)
    with pytest.raises(lrs.errors.FingerprintError):
        compared(storage=url, strategies=["random"], schedules=["sgdr"], seeds=1, budget=2, search_shape=False)


def test_the_command_line_lists_what_is_searched() -> None:
    listed = CliRunner().invoke(app, ["list"]).output
    assert "shape: cycles 3 to 6, T_mult 1 to 2, base_ratio 0.001 to 0.3" in listed
