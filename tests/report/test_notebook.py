"""What a notebook shows: the answer in words, nothing of a user's as markup."""

import base64
import html
from html.parser import HTMLParser

import numpy as np
import pytest

import lr_search as lrs
from lr_search.report.notebook import comparison_html
from lr_search.results.findings import Findings
from tests.helpers.study_records import study

HOSTILE = '<script>alert("1")</script>'


class Text(HTMLParser):
    """The text and the tags."""

    def __init__(self, source):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def shown(value):
    return Text(value._repr_html_())


def test_a_comparison_shows_what_to_train_with_and_its_summary(bowl_comparison):
    page, best = shown(bowl_comparison), bowl_comparison.recommend()
    assert best.training in page.text
    assert best.training.endswith(f"learning rate {best.lr:.3g}, SGD")
    assert best.reason in page.text
    assert len([tag for tag, _ in page.tags if tag == "tr"]) == len(bowl_comparison.summary(full=True)) + 1
    assert best.code in page.text


def test_a_recommendation_shows_its_code(bowl_comparison):
    best = bowl_comparison.recommend()
    page = shown(best)
    assert best.code in page.text
    assert f"Expect loss {best.value:.4g}" in page.text


def test_names_stay_text():
    records = [study([(0.1, 0.5)], strategy=HOSTILE, schedule=HOSTILE, optimizer=HOSTILE, objective=HOSTILE)]
    page = Text(comparison_html(Findings(HOSTILE, records)))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) >= 4


def test_without_an_answer_it_says_so():
    page = Text(comparison_html(Findings("by hand", [study([(0.1, "RUNNING")])])))
    assert "There is no answer yet" in page.text
    assert "1 trials still running" in page.text


def test_a_curve_shows_its_suggestion_and_its_picture():
    lr = np.geomspace(1e-5, 10, 100)
    curve = lrs.LRCurve.from_arrays(lr, 2 - 1.5 / (1 + (0.01 / lr) ** 2) + (lr / 2) ** 3)
    page, found = shown(curve), curve.suggest()
    assert f"learning rate {found.lr:.3g}" in page.text
    assert html.unescape(found.reason) in page.text
    (image,) = [attrs for tag, attrs in page.tags if tag == "img"]
    assert base64.b64decode(image["src"].partition(",")[2])[:8] == b"\x89PNG\r\n\x1a\n"
    assert f"{found.lr:.3g}" in image["alt"]


@pytest.mark.parametrize("status", ["ok", "noisy"])
def test_a_suggestion_shows_its_status_and_how_far_it_may_be_off(status):
    page = shown(lrs.Suggestion(0.0123, "valley", status, "because of <this>", 0.5))
    assert f"learning rate 0.0123 (×/÷ 3.2, {status})" in page.text
    assert "because of <this>" in page.text
