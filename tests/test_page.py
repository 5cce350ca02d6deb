"""The report's files: one page that holds everything and trusts nobody's names, tables, pictures."""

import base64
import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import lr_search as lrs
from lr_search.errors import OutputError
from lr_search.report.page import save_report
from tests.bowl import bowl
from tests.study_records import study

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = '<script>alert("1")'
IMAGE = "\"><img src='x' onerror='alert(1)'>"
METRIC = "</td><b>l|o'ss&amp;"


class Page(HTMLParser):
    """A page's tags with their attributes, its text, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.misnested = [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.misnested.append(tag)

    def handle_data(self, data):
        if "style" not in self.open[-1:]:
            self.text += data

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def cells(line):
    """A Markdown table's row, cut at the pipes that are not escaped."""
    return [cell.strip() for cell in line.replace(r"\|", "\0").strip("|\n ").split("|")]


@pytest.fixture(scope="module")
def report(bowl_comparison, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert bowl_comparison.save(folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A real comparison whose every name attacks the page."""

    def metrics(model, batch):
        return {METRIC: model(batch) ** 2, "<i>": model(batch)}

    folder = tmp_path_factory.mktemp("hostile")
    lrs.compare(
        bowl(metrics=metrics, objective=METRIC),
        strategies={HOSTILE: "grid", "a|b\nc": 0.1},
        schedules={IMAGE: lambda lr: lrs.schedules.Constant(lr)},
        optimizers={HOSTILE + "o": bowl().optimizer},
        budget=2,
        seeds=1,
        storage=None,
        name=HOSTILE + "n",
    ).save(folder)
    return folder


def test_the_folder_holds_the_page_the_tables_and_the_figures(report):
    assert sorted(path.name for path in report.iterdir()) == [
        "best_so_far.png", "learning_curves.png", "objective_by_lr.png", "range_tests.png", "report.html",
        "schedules.png", "summary.csv", "summary.md", "trials.csv",
    ]  # fmt: skip


def test_the_csv_files_are_the_frames(report, bowl_comparison):
    trials = pd.read_csv(report / "trials.csv")
    assert list(trials.columns) == list(bowl_comparison.trials.columns)
    assert trials["lr"].tolist() == bowl_comparison.trials["lr"].tolist()
    assert trials["objective"].tolist() == bowl_comparison.trials["objective"].tolist()
    summary = pd.read_csv(report / "summary.csv")
    assert summary["best"].tolist() == bowl_comparison.summary()["best"].tolist()


def test_every_tag_of_the_page_is_closed_in_order(report, hostile):
    for folder in (report, hostile):
        found = page(folder)
        assert (found.misnested, found.open) == ([], [])
        assert found.tags[0] == ("html", {"lang": "en"})
        assert len([tag for tag, _ in found.tags if tag == "h1"]) == 1
        ids = found.attributes("id")
        assert len(ids) == len(set(ids))


def test_the_page_loads_nothing_from_elsewhere(report, hostile):
    for folder in (report, hostile):
        found = page(folder)
        assert all(
            link.startswith("data:image/png;base64,") for link in found.attributes("src") + found.attributes("href")
        )
        assert not {"script", "link", "iframe"} & {tag for tag, _ in found.tags}
        assert "http" not in (folder / "report.html").read_text(encoding="utf-8").replace("http-equiv", "")


def test_every_picture_is_in_the_page_with_its_words(report):
    images = [attrs for tag, attrs in page(report).tags if tag == "img"]
    assert all(len(image["alt"]) > 20 for image in images)
    embedded = [base64.b64decode(image["src"].partition(",")[2]) for image in images]
    assert sorted(embedded) == sorted(path.read_bytes() for path in report.glob("*.png"))
    assert len(embedded) == 5


def test_the_page_says_what_to_train_with_and_what_every_trial_gave(report, bowl_comparison):
    best = bowl_comparison.recommend()
    text = page(report).text
    assert f"{best.schedule}, peak learning rate {best.lr:.3g}, SGD" in text
    assert best.reason in text
    rows = len(bowl_comparison.trials) + len(bowl_comparison.summary()) + 2  # and two heads
    assert len([tag for tag, _ in page(report).tags if tag == "tr"]) == rows
    # two range tests of 20 steps, each with 21 forward passes for the gain ratio
    assert f"{int(bowl_comparison.trials['steps'].sum()) + 2 * (20 + 7):,}" in text


def test_the_code_on_the_page_makes_the_schedule_that_is_recommended(report, bowl_comparison):
    line = next(line for line in page(report).text.splitlines() if line.startswith("schedule = "))
    names = {"lrs": lrs, "train_loader": [None, None]}
    exec(line, names)
    best = bowl_comparison.recommend()
    expected = lrs.schedules.by_name(best.schedule, best.lr, 20, 2)
    assert names["schedule"](np.arange(20)) == pytest.approx(expected(np.arange(20)), rel=1e-3)


def test_hostile_names_stay_text(hostile):
    found = page(hostile)
    assert not {"script", "b", "i"} & {tag for tag, _ in found.tags}
    assert not found.attributes("onerror")
    for name in (HOSTILE, HOSTILE + "n", HOSTILE + "o", IMAGE, METRIC):
        assert name in found.text


def test_summary_md_is_a_table_with_a_row_for_each_line_of_the_summary(report, bowl_comparison):
    lines = (report / "summary.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[0] == "# bowl"
    assert set(cells(table[1])) == {"---"}
    assert {len(cells(line)) for line in table} == {len(bowl_comparison.summary().columns) - 1}  # none had an ensemble
    assert [cells(line)[:3] for line in table[2:]] == bowl_comparison.summary().iloc[:, :3].to_numpy().tolist()
    best = bowl_comparison.recommend()
    assert f"**{best.schedule}, peak LR {best.lr:.4g}, SGD**" in lines[2]


def test_hostile_names_break_neither_the_markdown_table_nor_the_page_it_is_shown_in(hostile):
    text = (hostile / "summary.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert {len(cells(line)) for line in table} == {14}
    assert any(cells(line)[0] == "a\0b c" for line in table)
    assert "<" not in text


def test_failed_trials_show_their_tracebacks_as_text(tmp_path):
    error = 'Traceback (most recent call last):\n  File "loss.py", line 3, in loss\nValueError: <b>mine</b>'
    save_report("by hand", [study([(0.1, "FAIL"), (0.2, 0.5)], error=error)], tmp_path)
    assert error in page(tmp_path).text
    assert "Failed trials" in page(tmp_path).text


NO_ANSWER = {
    "no study": ([], "No trial is complete yet"),
    "no trial": ([study([])], "No trial is complete yet"),
    "one that runs": ([study([(0.1, "RUNNING")])], "1 trial still running"),
    "failed": ([study([(0.1, "FAIL"), (0.2, "FAIL")])], "Every trial that ended failed"),
    "pruned": ([study([(0.1, "PRUNED")])], "No trial is complete yet"),
    "diverged": ([study([(0.1, math.inf)])], "Every complete trial diverged"),
}


@pytest.mark.parametrize(("records", "told"), NO_ANSWER.values(), ids=NO_ANSWER.keys())
def test_without_an_answer_there_is_a_page_that_says_so(records, told, tmp_path):
    save_report("by hand", records, tmp_path)
    found = page(tmp_path)
    assert told in found.text
    assert "There is no answer yet" in found.text
    assert "Expect" not in found.text
    assert (found.misnested, found.open) == ([], [])
    assert (tmp_path / "trials.csv").exists()


def test_only_the_first_trials_of_very_many_are_on_the_page_and_all_are_in_the_csv(tmp_path):
    records = [study([(0.1, "PRUNED")] * 2_100)]
    save_report("many", records, tmp_path)
    assert "100 more are in trials.csv" in page(tmp_path).text
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 2_100


def test_saving_into_a_file_is_refused(bowl_comparison, tmp_path):
    (tmp_path / "report").write_text("mine")
    for target in (tmp_path / "report", tmp_path / "report" / "deeper"):
        with pytest.raises(OutputError, match="must go to a folder that can be written, but got ") as caught:
            save_report("by hand", [study([])], target)
        assert "Give another" in str(caught.value)
    assert (tmp_path / "report").read_text() == "mine"
