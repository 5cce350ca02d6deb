"""The report's files: one page that holds everything and trusts nobody's names, tables, pictures."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

import lr_search as lrs
from lr_search.errors import OutputError
from lr_search.report.cells import csv_text
from lr_search.report.charts.page_colors import VARIABLES
from lr_search.report.page import page_html, save_report
from lr_search.results.findings import Findings
from lr_search.results.tables import shown
from tests.helpers.bowl import bowl
from tests.helpers.study_records import study

pytestmark = pytest.mark.usefixtures("quick_pictures")

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE = '<script>window.hacked = "1"'
IMAGE = "\"><img src='x' onerror='window.hacked = 1'>"
METRIC = "</td></script><script>window.hacked=1</script>l|o'ss&amp;"
SECTIONS = ["answer", "objective", "next", "ways", "range-tests", "curves", "trials", "environment"]
TEMPLATES = Path(lrs.__file__).parent / "report" / "templates"


class Page(HTMLParser):
    """A page's tags with their attributes, its text, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.misnested, self.scripts = [], [], "", [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.misnested.append(tag)

    def handle_data(self, data):
        if "script" in self.open[-1:]:
            self.scripts[-1] += data
        elif "style" not in self.open[-1:]:
            self.text += data

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def by_hand(*records, name="by hand"):
    return Findings(name, records)


def page_of(*records):
    """Without figures, which take long to draw."""
    return Page(page_html(by_hand(*records), []))


def saved(folder, *records):
    save_report(by_hand(*records), folder)
    return page(folder)


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
    return hostile_report(tmp_path_factory.mktemp("hostile"))


def hostile_report(folder):
    def metrics(model, batch):
        return {METRIC: model(batch) ** 2, "<i>": model(batch)}

    found = lrs.compare(
        bowl(metrics=metrics, objective=METRIC),
        strategies={HOSTILE: "grid", "a|b c": 0.1},
        schedules={IMAGE: lambda lr: lrs.schedules.Constant(lr)},
        optimizers={HOSTILE + "o": bowl().optimizer},
        budget=2,
        seeds=1,
        storage=None,
        name=HOSTILE + "n",
    )
    failed = study([(0.1, "FAIL")], error=f"{IMAGE}\n{METRIC}", objective=METRIC, strategy=IMAGE, comparison=IMAGE)
    save_report(Findings(found.name, [*found.records, failed]), folder)
    return folder


def test_the_folder_holds_the_page_the_tables_and_the_figures(report):
    names = {path.name for path in report.iterdir()}
    figures = {path.stem for path in report.glob("*.png")}
    assert {"best_so_far", "objective_by_lr", "learning_curves", "schedules", "range_tests"} <= figures
    assert names == {f"{name}.{kind}" for name in figures for kind in ("png", "svg")} | {
        "report.html", "trials.csv", "summary.csv", "pairwise.csv", "basins.csv", "summary.md", "recommendation.json",
    }  # fmt: skip


def test_the_csv_files_are_the_frames(report, bowl_comparison):
    def numbers(table, column):  # to the last bit, which an older pandas does not read by itself
        return [float(text) for text in pd.read_csv(report / f"{table}.csv", dtype=str)[column]]

    trials = bowl_comparison.trials
    assert list(pd.read_csv(report / "trials.csv").columns) == list(trials.columns)
    assert numbers("trials", "lr") == trials["lr"].tolist()
    assert numbers("trials", "objective") == trials["objective"].tolist()
    assert numbers("summary", "best") == bowl_comparison.summary(full=True)["best"].tolist()
    assert numbers("basins", "lr") == bowl_comparison.basins()["lr"].tolist()
    assert numbers("pairwise", "worse_by") == bowl_comparison.pairwise()["worse_by"].tolist()


def test_the_recommendation_is_there_as_json(report, bowl_comparison, tmp_path):
    assert json.loads((report / "recommendation.json").read_text()) == json.loads(
        json.dumps(bowl_comparison.recommend().to_json())
    )
    saved(tmp_path, study([(0.1, "FAIL")]))
    assert json.loads((tmp_path / "recommendation.json").read_text()) is None


def test_every_tag_of_the_page_is_closed_in_order(report, hostile):
    for folder in (report, hostile):
        found = page(folder)
        assert (found.misnested, found.open) == ([], [])
        assert found.tags[0] == ("html", {"lang": "en"})
        assert len([tag for tag, _ in found.tags if tag == "h1"]) == 1
        ids = found.attributes("id")
        assert len(ids) == len(set(ids))


def test_the_page_answers_in_order_and_each_section_can_be_linked_to(report):
    found = page(report)
    ids = [each for each in found.attributes("id") if each in SECTIONS]
    assert ids == SECTIONS
    links = [link for link in found.attributes("href") if link.startswith("#")]
    assert [link[1:] for link in links if link[1:] in SECTIONS][1:9] == SECTIONS  # the navigation, after the skip link
    folds = [attrs for tag, attrs in found.tags if tag == "details" and attrs.get("class") == "fold"]
    assert len(folds) == 5  # ways, range tests, curves, trials, environment
    assert not any("open" in fold for fold in folds)
    assert {link[1:] for link in links} <= set(found.attributes("id"))


def test_the_page_loads_nothing_from_elsewhere(report, hostile):
    for folder in (report, hostile):
        found = page(folder)
        beside = {f"{path.stem}.svg" for path in folder.glob("*.svg")}
        for link in found.attributes("src") + found.attributes("href"):
            assert link.startswith(("data:", "#")) or link in beside
        assert not {"iframe", "object", "embed"} & {tag for tag, _ in found.tags}
        assert [attrs["href"] for tag, attrs in found.tags if tag == "link"] == ["data:,"]


def test_only_the_pages_own_script_may_run(report, hostile):
    for folder in (report, hostile):
        found = page(folder)
        policy = next(attrs["content"] for _, attrs in found.tags if attrs.get("http-equiv"))
        kinds = [attrs.get("type", "") for tag, attrs in found.tags if tag == "script"]
        assert kinds == ["application/json", ""]
        own = base64.b64encode(hashlib.sha256(found.scripts[1].encode()).digest()).decode()
        assert "default-src 'none'" in policy
        assert f"script-src 'sha256-{own}';" in policy
        assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]


def test_every_picture_is_in_the_page_with_its_words_and_its_data(report):
    found = page(report)
    images = [attrs for tag, attrs in found.tags if tag == "svg" and attrs.get("class") == "plot"]
    links = {attrs["download"]: attrs["href"] for tag, attrs in found.tags if tag == "a" and "download" in attrs}
    assert all(len(image["aria-label"]) > 20 and image["aria-label"] in found.text for image in images)
    assert len(images) == len(list(report.glob("*.svg"))) >= 5
    assert {name for name in links if name.endswith(".svg")} == {path.name for path in report.glob("*.svg")}
    for name, link in links.items():
        if name.endswith(".csv"):
            assert len(pd.read_csv(StringIO(unquote(link.partition(",")[2])))) > 0
        else:
            assert link == name


def test_the_page_says_what_to_train_with_and_what_every_trial_gave(report, bowl_comparison):
    best = bowl_comparison.recommend()
    found = page(report)
    words = {"constant": "learning rate", "triangular2": "peak learning rate"}
    assert f">{words[best.schedule]} {best.lr:.3g}, {best.schedule}, SGD<" in (report / "report.html").read_text()
    assert best.reason[1:] in found.text
    assert f"validation loss {best.value:.4g} (2 seeds: too few for an interval)" in found.text
    assert f"from {best.bounds[0]:.2g} to {best.bounds[1]:.2g}" in found.text
    other = best.runner_up
    assert f"runner-up{words[other.schedule]} {other.lr:.3g}, {other.schedule}, SGD" in found.text
    assert "2 seeds cannot say whether it is worse" in found.text
    assert best.code in found.text
    frames = [
        bowl_comparison.trials,
        bowl_comparison.summary(full=True),
        bowl_comparison.basins(),
    ]  # no differences: two seeds give no interval
    assert len([tag for tag, _ in found.tags if tag == "tr"]) == sum(map(len, frames)) + 3  # and three heads
    # two range tests of 20 steps, each with 21 forward passes for the gain ratio
    assert f"{int(bowl_comparison.trials['steps'].sum()) + 2 * (20 + 7):,}" in found.text


def test_the_code_on_the_page_trains_with_the_lr_that_is_recommended(report, bowl_comparison):
    best = bowl_comparison.recommend()
    code = best.code
    assert code in page(report).text
    names = {"model": bowl().model(), "torch": torch}
    exec(code, names)
    optimizer, scheduler = names["optimizer"], names.get("scheduler")
    expected = lrs.schedules.by_name(best.schedule, best.lr, 20, 2)
    seen = []
    for _ in range(20):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    assert seen == pytest.approx(expected(np.arange(20)), rel=1e-3)


def test_a_real_difference_and_a_confirmed_answer_are_called_so():
    records = [
        study([(0.1, value + 0.01 * seed)], schedule=name, seed=seed)
        for name, value in (("constant", 0.2), ("cosine", 0.5))
        for seed in range(4)
    ]
    text = page_of(*records).text
    assert "worse indeed: by 0.3 (95% interval 0.3 to 0.3)" in text
    assert "trains the best two again on 3 fresh seeds" in text
    assert "60 more steps" in text
    assert "confirm=3" in text
    again = [
        study([(0.1, 0.25)], kind="confirm", schedule=name, seed=seed, strategy="")
        for name in ("constant", "cosine")
        for seed in (1000, 1001, 1002)
    ]
    text = page_of(*records, *again).text
    assert "confirmed: trained again on fresh seeds" in text
    assert "SGDconfirmed" in text  # the badge, beside what to train with
    assert "confirm=6" in text  # what might tell the two apart
    assert "the best 2 were trained again on 3 fresh seeds (6 trainings, 60 steps)" in text
    assert "not told apart: worse by 0 (95% interval 0 to 0)" in text
    assert "1000, 1001, 1002" in text


def test_few_seeds_are_not_blamed_where_fresh_ones_confirmed_the_answer():
    records = [
        study([(0.1, value)], strategy=name, seed=seed)
        for name, value in (("grid", 0.2), ("random", 0.3))
        for seed in (0, 1)
    ]
    again = [study([(0.1, 0.25)], kind="confirm", seed=seed, strategy="") for seed in (7, 8, 9)]
    few = "2 seeds cannot tell a difference from chance"
    assert few in page_of(*records).text
    text = page_of(*records, *again).text
    assert few not in text
    assert "To be surer" not in text  # there is no other schedule or optimizer to tell it from


def test_too_few_fresh_seeds_are_called_so_and_more_are_proposed():
    """Confirmed on two seeds, it would stand beside a sentence that two seeds cannot tell."""
    records = [study([(0.1, 0.2)], seed=seed) for seed in range(3)]
    again = [study([(0.1, 0.25)], kind="confirm", seed=seed, strategy="") for seed in (1000, 1001)]
    text = page_of(*records, *again).text
    assert "SGDtoo few seeds" in text
    assert "2 fresh seeds give no interval, 3 do: 10 more steps" in text  # a third training of 10 steps
    assert "the best was trained again on 2 fresh seeds (2 trainings, 20 steps)" in text
    assert "came within 5%" not in text  # of one way to search, that says nothing


def test_the_cheapest_search_is_named_with_its_share_of_all_steps():
    records = []
    for seed in range(3):  # 10 steps a trial: random is there with its 2nd, grid with its 4th
        records.append(study([(0.1, 0.9), (0.2, 0.2), (0.3, 0.9), (0.4, 0.9)], strategy="random", seed=seed))
        records.append(study([(0.1, 0.9), (0.3, 0.9), (0.4, 0.9), (0.2, 0.2)], strategy="grid", seed=seed))
    text = page_of(*records).text
    assert (
        "random under constant came within 5% of the best known after 20 steps a seed, on average: 1/4 of the 80 steps"
        in text
    )
    assert "To the same quality it was 2 times as fast as grid." in text


def test_the_summary_leaves_out_what_says_nothing():
    found = page_of(study([(0.1, 0.4)]))
    assert "× random" not in found.text
    assert "diverged, pruned" not in found.text
    lost = page_of(study([(0.1, 0.4), (0.2, math.inf), (0.3, "FAIL"), (0.4, math.inf)]))
    assert "diverged, failed" in lost.text
    assert "2 / 1" in lost.text


def test_hostile_names_stay_text(hostile):
    found = page(hostile)
    assert not {"b", "i"} & {tag for tag, _ in found.tags}
    assert all(attrs["src"].startswith("data:") for tag, attrs in found.tags if tag == "img")
    for name in (HOSTILE, HOSTILE + "n", HOSTILE + "o", IMAGE, METRIC, f"{IMAGE}\n{METRIC}"):
        assert name in found.text
    held = json.loads(found.scripts[0])
    assert HOSTILE in held["columns"][0]["words"]


def test_summary_md_is_a_table_with_a_row_for_each_line_of_the_summary(report, bowl_comparison):
    lines = (report / "summary.md").read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[0] == "# bowl"
    assert set(cells(table[1])) == {"---"}
    assert {len(cells(line)) for line in table} == {len(shown(bowl_comparison.summary(full=True)).columns)}
    assert [cells(line)[:3] for line in table[2:]] == bowl_comparison.summary(full=True).iloc[:, :3].to_numpy().tolist()
    best = bowl_comparison.recommend()
    lr = "learning rate" if best.schedule == "constant" else "peak learning rate"  # of an LR that moves
    assert f"**{best.schedule}, {lr} {best.lr:.3g}, SGD**: loss {best.value:.4g}. " in lines[2]


def test_hostile_names_break_neither_the_markdown_table_nor_the_page_it_is_shown_in(hostile):
    text = (hostile / "summary.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert len({len(cells(line)) for line in table}) == 1
    assert any(cells(line)[0] == "a\0b c" for line in table)
    assert "<" not in text


def test_a_csv_file_runs_no_formula_in_a_spreadsheet():
    frame = pd.DataFrame({"=A1": ["=1+1", "+x", "@x", "-1", "plain"], "lr": [-1.0, 2, 3, 4, math.nan]})
    for column in (frame["=A1"], frame["=A1"].astype("category")):
        found = pd.read_csv(StringIO(csv_text(frame.assign(**{"=A1": column}))), dtype={"'=A1": str})
        assert found["'=A1"].tolist() == ["'=1+1", "'+x", "'@x", "-1", "plain"]
        assert found["lr"].tolist()[:4] == [-1, 2, 3, 4]


def test_failed_trials_show_their_tracebacks_as_text(tmp_path):
    error = 'Traceback (most recent call last):\n  File "loss.py", line 3, in loss\nValueError: <b>mine</b>'
    found = saved(tmp_path, study([(0.1, "FAIL"), (0.2, 0.5)], error=error))
    assert error in found.text
    assert "Failed trials" in found.text


ENDS = ["</script x", "</SCRIPT\n>", "<!--<script", "]]>", "\u2028"]


@pytest.mark.parametrize("name", ENDS)
def test_no_name_ends_the_script_element_that_holds_the_trials(name):
    text = page_html(by_hand(study([(0.1, 0.5)], strategy=name)), [])
    (data,) = re.findall(r'(?is)<script type="application/json" id="trials-data">(.*?)</script', text)
    assert "<" not in data
    held = {column["name"]: column["words"] for column in json.loads(data)["columns"]}
    assert held["strategy"] == [name]


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
    found = saved(tmp_path, *records)
    assert told in found.text
    assert "There is no answer yet" in found.text
    assert "expect" not in found.text
    assert (found.misnested, found.open) == ([], [])
    assert (tmp_path / "trials.csv").exists()


def test_only_the_first_trials_of_very_many_are_on_the_page_and_all_are_in_the_csv(tmp_path):
    found = saved(tmp_path, study([(0.1, "PRUNED")] * 10_100))
    assert "The first 10,000 trials; 100 more are in trials.csv" in found.text
    held = json.loads(found.scripts[0])
    assert {len(column["codes"]) for column in held["columns"]} == {10_000}
    assert len([tag for tag, _ in found.tags if tag == "tr"]) == 1 + 200
    assert len(pd.read_csv(tmp_path / "trials.csv")) == 10_100


def test_the_script_can_show_every_cell_and_sort_by_its_place():
    points = [(0.1, 0.5), (1e-5, 0.25), (0.2, math.inf), (0.3, "RUNNING"), (12345.6, 0.25)]
    held = json.loads(page_of(study(points)).scripts[0])
    columns = {column["name"]: column for column in held["columns"]}
    assert columns["lr"]["words"] == ["1e-05", "0.1", "0.2", "0.3", "12,346"]
    assert columns["lr"]["codes"] == [1, 0, 2, 3, 4]
    assert columns["objective"]["words"] == ["0.25", "0.5", "inf"]
    assert columns["objective"]["codes"] == [1, 0, 2, -1, 0]
    assert columns["outcome"]["words"] == ["diverged", "finished", "running"]
    assert not columns["outcome"]["number"]


def test_the_environment_is_that_of_the_runs():
    one = {
        "since": "2026-01-02T00:00:00+00:00",
        "command": "python a.py --fast",
        "git commit": "abc123",
        "device": "CPU",
    }
    other = one | {"command": "python b.py"}
    records = [study([(0.1, 0.5)], seed=seed, environment=one) for seed in (3, 5)]
    text = page_of(*records).text
    assert all(value in text for value in one.values())
    assert "3, 5" in text
    assert "cpu: 2 trials" in text
    later = one | {"since": "2026-01-03T00:00:00+00:00"}
    again = [
        study([(0.1, 0.5)], seed=7, environment=later),
        study([(0.1, 0.5)], seed=8, environment=other),
        study([], seed=9),
    ]
    text = page_of(*records, *again).text
    assert "3 studies" in text
    assert "python b.py" in text
    assert later["since"] not in text
    assert "1 study without a record of it" in text
    alone = page_of(study([(0.1, 0.5)])).text
    assert "left no record" in alone
    assert torch.__version__ in alone
    assert "pytest" not in alone


def test_saving_into_a_file_is_refused(tmp_path):
    (tmp_path / "report").write_text("mine")
    for target in (tmp_path / "report", tmp_path / "report" / "deeper"):
        with pytest.raises(OutputError, match="must go to a folder that can be written, but got ") as caught:
            save_report(by_hand(study([])), target)
        assert f"got {tmp_path / 'report'}: " in str(caught.value)
        assert "Give another" in str(caught.value)
    assert (tmp_path / "report").read_text() == "mine"


def test_a_folder_in_the_way_of_a_file_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "trials.csv").mkdir()
    with pytest.raises(OutputError, match=re.escape(f"{tmp_path / 'trials.csv'}: it is a folder")):
        save_report(by_hand(study([(0.1, 0.5)])), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["trials.csv"]


def test_saving_again_replaces_every_file_and_leaves_no_other(tmp_path):
    saved(tmp_path, study([(0.1, 0.5)]))
    before = {path.name for path in tmp_path.iterdir()}
    found = saved(tmp_path, study([(0.1, 0.5), (0.2, 0.25)]))
    assert {path.name for path in tmp_path.iterdir()} == before
    assert "learning rate 0.2, constant, SGD" in found.text
    assert "peak" not in found.text  # of an LR that stays


def luminance(color):
    """Relative luminance (WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = np.array(mpl.colors.to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_text_has_enough_contrast_in_both_schemes_and_in_print():
    style = (TEMPLATES / "report.css").read_text()
    schemes = [
        dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(schemes) == 3
    for scheme in schemes:
        colors = schemes[0] | scheme
        for text in ("ink", "soft", "accent", "good", "warn"):
            for ground in ("paper", "panel"):
                assert contrast(colors[text], colors[ground]) >= 4.5, (text, ground)
        for ground in ("slow", "rising", "slowname", "descentname", "risingname", "basin"):
            assert contrast(colors["ink"], colors[ground]) >= 4.5, ground
    light, dark, _ = schemes
    assert set(VARIABLES.values()) <= light.keys() == dark.keys()
    for name in ("blue", "orange", "green", "red", "pink", "sky"):
        assert light[name] in VARIABLES  # as the files beside the page have it
        assert contrast(dark[name], dark["paper"]) >= 4.5, name
