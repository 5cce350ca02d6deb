"""load(): one comparison or several together, by name, from storages and folders; and what cannot be."""

import warnings

import optuna
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.errors import FingerprintError, InvalidInputError, OutputError, StorageError, UnknownNameError
from tests.helpers.bowl import LR_RANGE, bowl, compare_in_bowl

QUICK = {"schedules": ["constant"], "budget": 3}
TIMES = ["seconds", "started", "ended", "device", "worker"]


def run(folder, file, workload=None, **changes):
    url = f"sqlite:///{folder}/{file}.db"
    asked = {"strategies": ["grid"], "seeds": 2, "lr_range": LR_RANGE, "range_test": {"num_steps": 20}, "name": "bowl"}
    lrs.compare(bowl(**workload or {}), storage=url, **QUICK | asked | changes)
    return url


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loading")


@pytest.fixture(scope="module")
def grid(folder):
    return run(folder, "grid")


@pytest.fixture(scope="module")
def random(folder):
    return run(folder, "random", strategies=["random"])


def test_the_only_comparison_needs_no_name(grid):
    assert lrs.load(grid).name == "bowl"
    assert lrs.load(grid).trials.equals(lrs.load(grid, "bowl").trials)


def test_of_several_the_name_must_say_which(folder):
    url = run(folder, "two")
    compare_in_bowl(url, **QUICK, strategies=["grid"], seeds=1, name="other")
    with pytest.raises(InvalidInputError, match=r"name must say which comparison.*: bowl, other"):
        lrs.load(url)


def test_a_name_that_is_not_there_is_told_with_those_that_are(grid):
    with pytest.raises(UnknownNameError, match=r"got 'bowls'. Did you mean 'bowl'\? Known: bowl"):
        lrs.load(grid, "bowls")


def test_another_programs_study_is_told_apart(folder, grid):
    optuna.create_study(storage=grid, study_name="theirs")
    with pytest.raises(StorageError, match=r"'theirs' is a study of another program.*: bowl.*LRPrior.from_study"):
        lrs.load(grid, "theirs")


def test_strategies_of_two_days_stand_side_by_side_as_if_run_together(folder, grid, random):
    whole = run(folder, "whole", strategies=["grid", "random"])
    found, expected = lrs.load([grid, random]), lrs.load(whole)
    keys = ["strategy", "schedule", "seed", "number"]
    frames = [each.trials.drop(columns=TIMES).sort_values(keys, ignore_index=True) for each in (found, expected)]
    pd.testing.assert_frame_equal(*frames)
    numbers = ["best", "best_lr", "mean_rank", "area", "steps_to_close", "faster_than_random"]
    pd.testing.assert_frame_equal(found.summary(full=True)[numbers], expected.summary(full=True)[numbers])
    assert found.recommend().lr == expected.recommend().lr


def test_seeds_of_two_machines_add_up(folder, grid):
    more = run(folder, "more", seeds=[2, 3])
    found = lrs.load([grid, more])
    assert found.summary(full=True)["seeds"].tolist() == [4]
    assert sorted(set(found.trials["seed"])) == [0, 1, 2, 3]


def test_comparisons_of_other_names_keep_their_names(folder, grid):
    url = run(folder, "named", strategies=["random"], name="tuesday")
    found = lrs.load([(grid, "bowl"), (url, "tuesday")])
    assert found.name == "bowl + tuesday"
    assert found.trials.groupby("strategy", observed=True)["comparison"].unique().map(list).to_dict() == {
        "grid": ["bowl"],
        "random": ["tuesday"],
    }


def test_range_tests_are_charged_to_their_own_studies(folder, grid):
    url = run(folder, "ranged", strategies=["range_test"], name="wednesday")
    found, alone = lrs.load([grid, url]), lrs.load(url)
    mine = found.trials[found.trials["strategy"] == "range_test"]
    assert mine["steps_charged"].tolist() == alone.trials["steps_charged"].tolist()
    assert len(found.curves) == len(alone.curves) > 0


def test_what_two_have_is_taken_once_from_where_more_is_finished(folder, grid):
    shorter = run(folder, "shorter", budget=2)
    with pytest.warns(UserWarning, match="2 studies are in more than one of the comparisons"):
        found = lrs.load([shorter, grid]).trials
    assert found.drop(columns=TIMES).equals(lrs.load(grid).trials.drop(columns=TIMES))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"workload": {"num_steps": 30}}, "but num_steps differ: 20 in 'bowl' (1), 30 in 'bowl' (2)"),
        ({"workload": {"objective": "distance"}}, "objective differs: loss in 'bowl' (1), distance in"),
        ({"lr_range": (1e-3, 1.0)}, "lr_range differs: "),
    ],
    ids=["length", "objective", "range"],
)
def test_what_trained_something_else_is_not_put_together(changes, told, folder, grid, tmp_path):
    other = run(tmp_path, "other", **changes)
    with pytest.raises(FingerprintError) as caught:
        _ = lrs.load([grid, other]).trials
    assert told in str(caught.value)
    assert "Load them one by one" in str(caught.value)


def test_other_data_under_the_same_name_are_told_by_the_fingerprint(grid, folder):
    import sqlite3

    changed = folder / "changed.db"
    with sqlite3.connect(folder / "grid.db") as old, sqlite3.connect(changed) as new:
        old.backup(new)
        new.execute(
            "UPDATE study_user_attributes SET value_json = replace(value_json, '\"batches\": ', '\"batches\": 9')"
        )
    with pytest.raises(
        FingerprintError, match=r"but the training data differ: 2 batches in 'bowl' \(1\), 92 batches in 'bowl' \(2\)"
    ):
        _ = lrs.load([grid, f"sqlite:///{changed}"]).trials


def test_an_empty_list_is_refused():
    with pytest.raises(InvalidInputError, match="storage must be one or several, but got an empty list"):
        lrs.load([])


def test_a_comparison_written_as_parquet_is_read_back_whole(grid, tmp_path):
    found = lrs.load(grid)
    assert found.to_parquet(tmp_path / "deep" / "bowl") == tmp_path / "deep" / "bowl"
    for back in (lrs.Comparison.read(tmp_path / "deep" / "bowl"), lrs.load(str(tmp_path / "deep" / "bowl"), "bowl")):
        pd.testing.assert_frame_equal(back.trials, found.trials)
        pd.testing.assert_frame_equal(back.evaluations, found.evaluations)
        pd.testing.assert_frame_equal(back.summary(full=True), found.summary(full=True))
        assert back.recommend().to_json() == found.recommend().to_json()
        assert back.name == "bowl"
    with pytest.raises(UnknownNameError, match="Known: bowl"):
        lrs.load(tmp_path / "deep" / "bowl", "other")


def test_range_tests_and_priors_come_back_from_parquet(folder, tmp_path):
    url = run(folder, "priors", strategies=["range_test"], seeds=1)
    found = lrs.load(url)
    back = lrs.Comparison.read(found.to_parquet(tmp_path))
    pd.testing.assert_frame_equal(back.curves, found.curves)
    assert [study.prior for study in back.records] == [study.prior for study in found.records]


@pytest.mark.parametrize("table", ["trials", "evaluations", "curves"])
def test_other_programs_read_the_same_tables_with_their_types(grid, tmp_path, table):
    found = lrs.load(grid)
    read = pd.read_parquet(found.to_parquet(tmp_path) / f"{table}.parquet")
    pd.testing.assert_frame_equal(read, getattr(found, table))


def test_a_file_in_the_way_is_told(grid, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OutputError, match=r"must go to a folder that can be written, but got .*mine"):
        lrs.load(grid).to_parquet(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("content", [None, b"", b"no parquet"], ids=["nothing", "empty", "other"])
def test_a_folder_that_is_not_ours_is_told(content, tmp_path):
    if content is not None:
        (tmp_path / "studies.parquet").write_bytes(content)
    with pytest.raises(StorageError, match=r"must be one that Comparison\.to_parquet wrote"):
        lrs.Comparison.read(tmp_path)


def test_loading_one_warns_of_nothing(grid):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(lrs.load([grid]).trials) == len(lrs.load(grid).trials)
