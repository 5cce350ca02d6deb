"""The report's page in Chromium: what a person sees, clicks and prints."""

import base64
import math
import time
from io import StringIO
from itertools import pairwise
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from lr_search.report.page import page_html
from lr_search.results.findings import Findings
from tests.helpers import browser as chromium
from tests.helpers.study_records import study
from tests.report.test_page import HOSTILE, IMAGE, METRIC, contrast, hostile_report

pytestmark = pytest.mark.browser

WIDTHS = [380, 1280, 1920]
LONG = "a_strategy_that_somebody_named_after_all_of_its_options_" * 3
ROWS = "[...document.querySelectorAll('#trials-table tbody tr')].map(row => [...row.children].map(cell => cell.textContent))"
OVERFLOW = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"
SHOWN = "arguments[0].checkVisibility()"


@pytest.fixture(scope="module")
def browser():
    if chromium.programs() is None:
        pytest.skip(chromium.PACKAGES)
    with chromium.running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(bowl_comparison, tmp_path_factory):
    """Pages by what is in them."""
    folder = tmp_path_factory.mktemp("pages")
    bowl_comparison.save(folder / "bowl")
    hostile_report(folder / "hostile")
    made = {"many": Findings("many", many()), "long": Findings(LONG, long_names()), "empty": Findings("empty", [])}
    for name, findings in made.items():
        (folder / name).mkdir()
        (folder / name / "report.html").write_text(page_html(findings, []), encoding="utf-8")
    return {path.name: path / "report.html" for path in folder.iterdir()}


def many():
    """450 trials of 3 strategies; of some the objective is not known yet, one diverged."""
    rng = np.random.default_rng(0)
    found = []
    for place, strategy in enumerate(("grid", "random", "tpe")):
        for seed in range(3):
            lrs = 10 ** rng.uniform(-5, 1, 50)
            points = [(float(lr), float(abs(np.log10(lr) + 1) + rng.normal() / 10 + 2)) for lr in lrs]
            points[place] = (points[place][0], math.inf)
            points[7] = (points[7][0], "RUNNING")
            schedule = "cosine" if seed else "constant"
            found.append(study(points, strategy=strategy, schedule=schedule, seed=seed, start=9.0))
    return found


def long_names():
    return [
        study([(0.1, 0.5), (1.0, math.inf), (0.2, "FAIL")], strategy=f"{LONG}{n}", schedule=LONG.replace("_", ""),
              optimizer=f"torch.optim.{LONG}", seed=seed, objective=LONG, error="x" * 500)
        for n in range(2) for seed in range(3)
    ]  # fmt: skip


@pytest.fixture
def table(browser, pages):
    """The page of many trials, opened anew."""
    browser.open(pages["many"])
    browser.js(OPEN_ALL)
    return browser


def expected(**kept):
    """The trials of `many`, as a frame."""
    frame = Findings("many", many()).trials
    for name, value in kept.items():
        frame = frame[frame[name] == value]
    return frame


def column(browser, name):
    heads = [head.text.strip() for head in browser.all("#trials-table thead th")]
    return [row[heads.index(name)] for row in browser.js(ROWS)]


def numbers(texts):
    return [math.nan if text == "–" else float(text.replace(",", "")) for text in texts]


def head(browser, name):
    return next(each for each in browser.all("#trials-table thead button") if each.text.strip() == name)


@pytest.mark.parametrize("name", ["bowl", "hostile", "many", "long", "empty"])
def test_it_opens_from_a_file_without_a_complaint_or_another_request(browser, pages, name):
    assert browser.open(pages[name]) == [pages[name].as_uri()]
    for button in browser.all("button"):
        if browser.js(SHOWN, button):
            browser.js("arguments[0].click()", button)
    assert browser.requests() == []
    assert browser.complaints() == []


@pytest.mark.parametrize("name", ["bowl", "hostile", "many", "long", "empty"])
def test_nothing_overflows_at_any_width(browser, pages, name):
    for width in WIDTHS:
        browser.open(pages[name], width)
        browser.js(OPEN_ALL)
        wide, room = browser.js(OVERFLOW)
        assert wide <= room <= width


def test_hostile_names_run_nothing_and_stay_text(browser, pages):
    browser.open(pages["hostile"])
    browser.js(OPEN_ALL)
    browser.one("#trials-text").send_keys("grid")  # rows are made by the script from here on
    browser.one("#trials-clear").click()
    assert browser.js("window.hacked === undefined")
    assert browser.js("document.querySelectorAll('main b, main i, [onerror]').length") == 0
    text = browser.js("document.body.textContent")
    assert all(name in text for name in (HOSTILE, HOSTILE + "n", HOSTILE + "o", IMAGE, METRIC))
    assert {row[0] for row in browser.js(ROWS)} == {HOSTILE, "a|b c", IMAGE}
    assert browser.js("document.title").startswith(HOSTILE)


def test_a_script_that_escaping_missed_would_not_run(browser, pages, tmp_path):
    text = pages["many"].read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("</h1>", f"</h1><script>window.hacked = 1</script>{IMAGE[2:]}"), encoding="utf-8")
    browser.open(broken)
    assert browser.js("window.hacked === undefined")
    assert browser.complaints()


def test_sorting_by_click_orders_numbers_both_ways_with_what_is_empty_last(table):
    head(table, "objective").click()
    table.one("#trials-more").click()
    table.one("#trials-more").click()
    known = expected()["objective"].dropna().sort_values().tolist()
    found = numbers(column(table, "objective"))
    assert found[: len(known)] == pytest.approx(known, rel=1e-3)
    assert np.isnan(found[len(known) :]).sum() == 9
    assert table.one("[aria-sort]").get_attribute("aria-sort") == "ascending"
    head(table, "objective").click()
    assert numbers(column(table, "objective")) == pytest.approx(known[::-1][:200], rel=1e-3)
    assert [each.get_attribute("aria-sort") for each in table.all("[aria-sort]")] == ["descending"]


def test_sorting_by_the_enter_key(table):
    head(table, "lr").send_keys("\ue007")
    assert numbers(column(table, "lr")) == pytest.approx(expected()["lr"].sort_values().tolist()[:200], rel=1e-3)
    assert table.js("document.activeElement.textContent") == "lr"  # the focus stays
    head(table, "strategy").send_keys("\ue007")
    assert set(column(table, "strategy")) == {"grid", "random"}  # the first 200 by name


def test_the_filters_show_exactly_the_rows_asked_for(table):
    table.one("#trials-text").send_keys("diverged  GRID")
    kept = expected(strategy="grid", outcome="diverged")
    assert numbers(column(table, "lr")) == pytest.approx(kept["lr"].tolist(), rel=1e-3)
    assert table.one("#trials-count").text == "3 of 3 trials that match, of 450 shown."
    table.one("#trials-clear").click()
    assert table.one("#trials-count").text == "200 of 450 trials shown."
    choose(table, "schedule", "constant")
    choose(table, "strategy", "tpe")
    kept = expected(schedule="constant", strategy="tpe")
    assert numbers(column(table, "lr")) == pytest.approx(kept["lr"].tolist(), rel=1e-3)
    choose(table, "outcome", "running")
    assert len(table.js(ROWS)) == 1
    table.one("#trials-text").send_keys("nothing like it")
    assert table.js(ROWS) == []
    assert table.one("#trials-count").text == "0 of 0 trials that match, of 450 shown."


def choose(browser, name, option):
    label = next(each for each in browser.all(".controls label") if each.text.startswith(name))
    next(each for each in label.find_elements("css selector", "option") if each.text == option).click()


def test_more_rows_come_200_at_a_time_and_all_are_as_python_wrote_them(table):
    before = table.js(ROWS)
    head(table, "number").click()
    table.one("#trials-clear").click()
    assert table.js(ROWS) == before  # made by the script now
    assert table.one("#trials-more").text == "Show 200 more"
    table.one("#trials-more").click()
    assert table.one("#trials-more").text == "Show 50 more"
    table.one("#trials-more").click()
    assert not table.one("#trials-more").is_displayed()
    assert len(table.js(ROWS)) == 450
    assert numbers(column(table, "lr")) == pytest.approx(expected()["lr"].tolist(), rel=1e-3)


def test_the_copy_button_copies_the_code(browser, pages, bowl_comparison):
    browser.open(pages["bowl"])
    # the clipboard answers later, and what is told is cleared after two seconds
    browser.js(
        "window.told = [], new MutationObserver((seen) => told.push(seen[0].target.textContent))"
        ".observe(document.querySelector('#answer .code .told'), {childList: true})"
    )
    browser.one("#answer .code button").click()
    until = time.monotonic() + 10.0
    while not (told := browser.js("window.told")) and time.monotonic() < until:
        time.sleep(0.02)
    assert told[0] == "Copied"
    browser.js("document.body.append(document.createElement('textarea'))")
    area = browser.one("body > textarea")
    area.send_keys("\ue009v")
    assert area.get_attribute("value") == bowl_comparison.recommend().code


COLORS = """(() => {
  const ground = (each) => {
    const color = getComputedStyle(each).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" && each.parentElement ? ground(each.parentElement) : color;
  };
  const own = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const seen = [...document.querySelectorAll("body, body *")].filter((each) => own(each) && each.checkVisibility());
  return [...new Set(seen.map((each) => `${getComputedStyle(each).color};${ground(each)}`))].map((pair) => pair.split(";"));
})()"""


def test_dark_and_light_differ_and_every_text_can_be_read(browser, pages):
    grounds = {}
    for scheme in ("light", "dark"):
        with browser.media(scheme=scheme):
            browser.open(pages["bowl"])
            browser.js(OPEN_ALL)
            grounds[scheme] = browser.js("getComputedStyle(document.body).backgroundColor")
            pairs = browser.js(COLORS)
            assert len(pairs) >= 4
            for color, ground in pairs:
                assert contrast(rgb(color), rgb(ground)) >= 4.5, (scheme, color, ground)
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}


def rgb(text):
    return tuple(int(part) / 255 for part in text.removeprefix("rgb(").rstrip(")").split(","))


def test_print_hides_the_controls_and_shows_tables_whole(browser, pages):
    for name in ("bowl", "many", "long"):
        browser.open(pages[name], 794)  # A4 at 96 dots an inch
        browser.js(OPEN_ALL)
        with browser.media("print"):
            for selector in ("nav", ".controls", ".code button", "#trials-more", ".files", ".permalink"):
                assert not any(browser.js(SHOWN, each) for each in browser.all(selector)), selector
            for box in browser.all(".scroll"):
                assert browser.js(
                    "[arguments[0].scrollHeight - arguments[0].clientHeight, getComputedStyle(arguments[0]).overflowY]",
                    box,
                ) == [0, "visible"]
            wide, room = browser.js(OVERFLOW)
            assert wide <= room, name
    browser.open(pages["bowl"])
    printed = base64.b64decode(browser.cdp("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF-")
    assert 1 <= printed.count(b"/Type /Page\n") <= 5


def test_without_scripts_the_first_rows_and_the_links_are_there(browser, pages):
    browser.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["many"])
        assert len(browser.all("#trials-table tbody tr")) == 200
        assert not browser.one(".controls").is_displayed()
        assert not [each for each in browser.all("button") if each.is_displayed()]
        browser.open(pages["bowl"])
        assert browser.js("arguments[0].getBoundingClientRect().width > 100", browser.one("#objective svg"))
        for link in browser.all('a[download$=".svg"]'):
            assert (pages["bowl"].parent / link.get_attribute("download")).as_uri() == link.get_attribute("href")
    finally:
        browser.cdp("Emulation.setScriptExecutionDisabled", value=False)


def test_every_figures_links_hold_what_they_say(browser, pages):
    browser.open(pages["bowl"])
    browser.js(OPEN_ALL)
    links = {each.get_attribute("download"): each.get_attribute("href") for each in browser.all("figure a[download]")}
    assert len(links) == 2 * (len(browser.all("figure")) - 1) >= 10  # all but the answer's
    for name, link in links.items():
        if name.endswith(".csv"):
            head, _, body = link.partition(",")
            assert head == "data:text/csv;charset=utf-8"
            assert len(pd.read_csv(StringIO(unquote(body)))) > 0
    assert all(browser.js("arguments[0].getBoundingClientRect().width > 100", each) for each in browser.all("svg.plot"))


def test_a_link_downloads_its_file(browser, pages, tmp_path):
    browser.open(pages["bowl"])
    browser.js(OPEN_ALL)
    browser.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    for kind in ("csv", "svg"):
        browser.one(f'#figure-best_so_far a[download$=".{kind}"]').click()
        wait_for(tmp_path / f"best_so_far.{kind}")
    text = (tmp_path / "best_so_far.svg").read_text()
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in text  # the page's colours are not there
    assert "#0072b2" in text.lower()


READING = "[...arguments[0].parentElement.querySelectorAll('.reading')].map(each => each.hidden ? '' : each.textContent).join('')"
PLACE = """(([svg, x, y]) => {
  const place = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: place.x, clientY: place.y, bubbles: true }));
})([...arguments])"""


def test_a_picture_is_read_at_the_pointer(browser, pages, bowl_comparison):
    browser.open(pages["bowl"])
    svg, best = browser.one("#objective svg.wide"), bowl_comparison.recommend()
    (axes,) = browser.js("JSON.parse(arguments[0].dataset.axes)", svg)
    left, top, right, _ = axes["box"]
    share = math.log(best.lr / axes["x"]["low"]) / math.log(axes["x"]["high"] / axes["x"]["low"])
    browser.js(PLACE, svg, left + share * (right - left), top + 1)
    assert f"learning rate {best.lr:.3g}" in browser.js(READING, svg)
    own = bowl_comparison.trials.query("schedule == @best.schedule").iloc[0]
    first = (
        "[...arguments[0].querySelectorAll('circle.point')].map(each => [each.cx.baseVal.value, each.cy.baseVal.value])"
    )
    said = []
    for x, y in browser.js(first, svg):
        browser.js(PLACE, svg, x, y)
        said.append(browser.js(READING, svg))
    assert any(text.startswith(f"grid, seed 0, trial 0: {axes['x']['name']} {own['lr']:.3g}, ") for text in said)
    browser.js("arguments[0].dispatchEvent(new PointerEvent('pointerleave'))", svg)
    assert browser.js(READING, svg) == ""


def wait_for(path, seconds=10.0):
    until = time.monotonic() + seconds
    while not (path.exists() and path.stat().st_size) and time.monotonic() < until:
        time.sleep(0.02)
    assert path.stat().st_size


@pytest.mark.parametrize("name", ["bowl", "hostile", "many", "empty"])
def test_a_screen_reader_finds_its_way(browser, pages, name):
    browser.open(pages[name])
    browser.js(OPEN_ALL)
    ids = browser.js("[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    levels = browser.js("[...document.querySelectorAll('h1, h2, h3, h4')].map(each => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert browser.js("document.documentElement.lang") == "en"
    for landmark in ("main", "header", "nav"):
        assert len(browser.all(landmark)) == 1
    assert browser.js(
        "[...document.querySelectorAll('svg:not([aria-hidden])')].every(each => each.getAttribute('aria-label').length > 10)"
    )
    assert browser.js("[...document.querySelectorAll('table')].every(each => each.caption?.textContent.trim())")
    assert browser.js("[...document.querySelectorAll('th')].every(each => ['col', 'row'].includes(each.scope))")
    for each in browser.all("a, button, input, select, summary, [role=region], form, section"):
        assert each.accessible_name.strip() or not browser.js(SHOWN, each), each.get_attribute("outerHTML")[:200]
    named = "[...document.querySelectorAll('[aria-labelledby]')].every(each => document.getElementById(each.getAttribute('aria-labelledby')))"
    assert browser.js(named)


def test_the_keyboard_reaches_the_answer_first_and_sees_where_it_is(browser, pages):
    browser.open(pages["bowl"])
    browser.one("body").send_keys("\ue004")
    skip = browser.driver.switch_to.active_element
    assert skip.text == "Skip to the answer"
    assert browser.js("arguments[0].getBoundingClientRect().left >= 0", skip)
    assert browser.js("getComputedStyle(arguments[0]).outlineStyle", skip) == "solid"
    skip.send_keys("\ue007")
    assert browser.driver.current_url.endswith("#answer")
    permalink = browser.one("#objective h2 .permalink")
    assert browser.js("getComputedStyle(arguments[0]).opacity", permalink) == "0"
    browser.js("arguments[0].focus()", permalink)
    assert browser.js("getComputedStyle(arguments[0]).opacity", permalink) == "1"
    browser.one('nav a[href="#curves"]').click()  # what a link leads to is unfolded
    assert browser.js(SHOWN, browser.one("#figure-learning_curves svg"))
    assert not browser.js(SHOWN, browser.one("#figure-range_tests svg"))
