"""What was gained over the learning rate that is used today, on records whose answer is known."""

import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from lr_search.report.markdown import summary_markdown
from lr_search.report.notebook import recommendation_html
from lr_search.report.page import page_html
from lr_search.report.terminal import as_text
from lr_search.results.findings import Findings
from lr_search.results.recommendation import recommend
from tests.helpers.study_records import STEPS, study

TODAY = {"strategy": "today", "lr": 3e-4}
FOUND = (0.2, 0.3, 0.1)


def searched(values=FOUND, **changes):
    """A search of one trial for each seed, at 0.1."""
    return [study([(0.1, value)], seed=seed, **changes) for seed, value in enumerate(values)]


def todays(values, **changes):
    """Today's training for each seed."""
    return [
        study([(3e-4, value)], kind="today", seed=seed, **{**TODAY, **changes}) for seed, value in enumerate(values)
    ]


def fresh(lr, values, **changes):
    """Trainings on fresh seeds."""
    return [study([(lr, v)], kind="confirm", seed=1000 + i, **changes) for i, v in enumerate(values)]


def told(records):
    return recommend(records).against_today


def test_without_today_there_is_nothing_to_tell_against():
    best = recommend(searched())
    assert best.against_today is None
    assert best.to_json()["against_today"] is None
    assert str(best).startswith("constant, learning rate 0.1, SGD")


def test_the_gain_is_paired_over_seeds_and_unconfirmed():
    values = [0.7, 0.82, 0.61]
    found = told([*searched(), *todays(values)])
    gains = np.subtract(values, FOUND)
    low, high = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains))
    assert (found.difference.mean, found.difference.low, found.difference.high) == pytest.approx(
        (gains.mean(), low, high)
    )
    assert (found.verdict, found.confirmed) == ("better", False)
    assert (found.lr, found.schedule, found.optimizer) == (3e-4, "constant", "SGD")
    assert (found.value, found.found) == pytest.approx((np.mean(values), np.mean(FOUND)))
    assert found.sentence == (
        "loss 0.2 where today's 0.0003 gives 0.71, for 30 steps, 3 trials and 2 s of search; "
        "unconfirmed: the winner was chosen among these trials, today's was not."
    )


def test_the_cost_is_that_of_all_but_todays():
    tests = [study([(math.nan, 0.5)], kind="range_test", strategy="", schedule="", seed=seed) for seed in range(3)]
    records = [*tests, *searched(), *todays(FOUND), *fresh(0.1, FOUND), *fresh(3e-4, FOUND, strategy="today")]
    found = told(records)
    assert (found.trials, found.steps, found.seconds) == (9, 9 * STEPS, 9 * 0.5)
    assert "for 90 steps, 9 trials and 4 s of search and confirmation" in found.sentence


def test_the_higher_the_better_where_the_objective_is_maximized():
    up = {"direction": "maximize", "objective": "accuracy", "start": 0.1}
    found = told([*searched((0.9, 0.91, 0.92), **up), *todays((0.5, 0.52, 0.51), **up)])
    assert found.verdict == "better"
    assert found.difference.mean == pytest.approx(0.4)
    assert found.sentence.startswith("accuracy 0.91 where today's 0.0003 gives 0.51, ")


def test_what_is_not_as_in_the_answer_is_named():
    under = todays((0.9, 0.9, 0.9), schedule="cosine", optimizer="Adam")
    assert "where today's 0.0003 under cosine with Adam gives 0.9, " in told([*searched(), *under]).sentence


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_tell_no_gain_from_chance(seeds):
    found = told([*searched(FOUND[:seeds]), *todays([0.9] * seeds)])
    assert found.verdict == "too few seeds"
    assert found.sentence.endswith(f"; {seeds} seed{'s' * (seeds > 1)} cannot tell the gain from chance.")


def test_seeds_that_do_not_tell_them_apart():
    values = [0.25, 0.2, 0.4]
    found = told([*searched(), *todays(values)])
    assert stats.ttest_rel(values, FOUND).pvalue > 0.05
    assert found.verdict == "not told apart"
    low, high = found.difference.low, found.difference.high
    assert found.sentence.startswith(
        f"3 seeds cannot tell what was found from today's 0.0003: loss 0.2 against 0.2833 "
        f"(95% interval of the gain: {low:.2g} to {high:.2g}), for 30 steps"
    )


@pytest.mark.parametrize(
    "values",
    [(0.2, 0.29, 0.05), (0.21, 0.295, 0.105)],  # better than what was found; worse by less than 5% of the way from 1
    ids=["better", "within 5%"],
)
def test_todays_is_as_good_and_can_stay(values):
    found = told([*searched(), *todays(values)])
    assert found.difference.mean <= 0 or found.difference.high <= 0.05 * (1 - np.mean(FOUND))
    assert found.verdict == "as good"
    assert found.sentence == (
        f"Today's 0.0003 is as good: keep it ({np.mean(values):.4g}, where loss 0.2 was found, for 30 steps, 3 trials "
        "and 2 s of search)."
    )


def test_a_gain_of_all_seeds_counts_however_small_it_is():
    found = told([*searched(), *todays([value + 0.01 + 1e-4 * i for i, value in enumerate(FOUND)])])
    assert found.verdict == "better"


def test_fresh_seeds_confirm_and_alone_stand_in_the_numbers():
    records = [*searched(), *todays((0.9, 0.9, 0.9))]
    ours, theirs = (0.4, 0.5, 0.45), (0.7, 0.81, 0.73)
    found = told([*records, *fresh(0.1, ours), *fresh(3e-4, theirs, strategy="today")])
    assert (found.verdict, found.confirmed) == ("better", True)
    assert (found.found, found.value) == pytest.approx((np.mean(ours), np.mean(theirs)))
    assert found.difference.p == pytest.approx(stats.ttest_rel(theirs, ours).pvalue)
    assert re.search(r"; confirmed on 3 fresh seeds \(95% interval of the gain: 0\.\d+ to 0\.\d+\)\.$", found.sentence)


def test_what_was_confirmed_without_todays_stays_unconfirmed_against_it():
    found = told([*searched(), *todays((0.9, 0.92, 0.9)), *fresh(0.1, (0.4, 0.5, 0.45))])
    assert (found.verdict, found.confirmed, found.value) == ("better", False, pytest.approx(2.72 / 3))


def test_another_training_of_the_same_lr_under_another_schedule_is_not_todays():
    others = fresh(3e-4, (0.1, 0.1, 0.1), schedule="cosine")
    assert told([*searched(), *todays((0.9, 0.9, 0.8)), *fresh(0.1, FOUND), *others]).confirmed is False


def test_only_the_seeds_that_both_have_count():
    found = told([*searched(), *todays((0.9, "RUNNING", 0.7))])
    assert found.difference.n == 2
    assert (found.value, found.found) == pytest.approx((0.8, 0.15))


def test_a_training_of_todays_that_diverges_counts_as_step_0():
    found = told([*searched(start=2.0), *todays((math.inf,) * 3, start=2.0)])
    assert found.value == 2.0
    assert found.sentence.startswith("loss 0.2 where today's 0.0003 diverges, for ")
    some = told([*searched(start=2.0), *todays((math.inf, 0.5, 0.5), start=2.0)])
    assert some.value == pytest.approx(1.0)
    assert "diverges" not in some.sentence


@pytest.mark.parametrize("end", ["RUNNING", "FAIL"])
def test_while_todays_has_no_result_it_says_so(end):
    found = told([*searched(), *todays((end,))])
    assert (found.verdict, found.difference) == ("not trained", None)
    assert math.isnan(found.value)
    assert found.sentence == "There is no result of today's 0.0003 to compare with yet."


def test_it_is_the_first_sentence_of_every_answer():
    records = [*searched(), *todays((0.7, 0.82, 0.61))]
    best = recommend(records)
    sentence = best.against_today.sentence
    as_json = json.loads(json.dumps(best.to_json(), allow_nan=False))
    assert next(iter(as_json)) == "against_today"
    assert as_json["against_today"]["sentence"] == sentence
    assert str(best).splitlines()[0] == sentence
    findings = Findings("by hand", records)
    assert " ".join(as_text(findings, 80).splitlines()).startswith(f"{sentence} Train with: constant, ")
    assert summary_markdown(findings).splitlines()[:3] == ["# by hand", "", sentence]
    page = recommendation_html(best).replace("&#x27;", "'")
    assert page.index(sentence) < page.index("Expect loss")


def test_where_nothing_else_ends_well_todays_is_to_be_kept():
    lost = [study([(1.0, math.inf)], seed=seed) for seed in range(2)]
    assert Findings("by hand", [*lost, *todays((0.5, 0.7))]).lack.endswith(
        " Today's 0.0003 under constant gives loss 0.6: keep it until then."
    )
    assert "oday's" not in Findings("by hand", [*lost, *todays((math.inf, "FAIL"))]).lack


def test_where_todays_is_better_it_is_to_be_kept_and_nothing_says_to_train_with_what_was_found():
    """Beyond what the seeds differ: a wrong range was searched."""
    values = (0.02, 0.04, 0.03)
    findings = Findings("by hand", [*searched((0.5, 0.6, 0.7)), *todays(values)])
    best = findings.recommendation
    assert stats.ttest_rel(values, (0.5, 0.6, 0.7)).pvalue < 0.05
    assert (best.against_today.verdict, best.against_today.keep) == ("worse", True)
    sentence = (
        "Today's 0.0003 is better: keep it (0.03, where loss 0.6 was found, for 30 steps, 3 trials and 2 s of search)."
    )
    assert best.against_today.sentence == sentence
    text = " ".join(as_text(findings, 80).splitlines())
    assert text.startswith(f"{sentence} Best of the search: constant, learning rate 0.1, SGD")
    for told in (text, recommendation_html(best), page_html(findings, drawn=[])):
        assert "Best of the search" in told
        assert "Train with" not in told


def test_accuracy_of_todays_that_is_better():
    up = {"direction": "maximize", "objective": "accuracy", "start": 0.1}
    found = told([*searched((0.5, 0.52, 0.51), **up), *todays((0.9, 0.91, 0.92), **up)])
    assert found.verdict == "worse"
    assert found.sentence.startswith("Today's 0.0003 is better: keep it (0.91, where accuracy 0.51 was found, ")


@pytest.mark.parametrize(("schedule", "words"), [("constant", "learning rate"), ("cosine", "peak learning rate")])
def test_in_markdown_too_there_is_a_peak_only_where_the_lr_moves(schedule, words):
    lines = summary_markdown(Findings("by hand", searched(schedule=schedule))).splitlines()
    assert lines[2].startswith(f"**{schedule}, {words} 0.1, SGD**: loss 0.2. Lowest smoothed loss over 3 trials")
