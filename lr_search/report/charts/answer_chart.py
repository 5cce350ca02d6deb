"""The picture of the answer as SVG: the objective against the LR, with what a range test said before and what is used today."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from markupsafe import Markup

from lr_search.arrays import FloatArray
from lr_search.report.cells import measured
from lr_search.report.charts.answer_view import AnswerView
from lr_search.report.charts.chart_scale import ChartScale, fitting
from lr_search.report.charts.marks import cross, element, marker
from lr_search.report.figures.picture import name_list, present
from lr_search.report.plots.style import GREY, Look, plain

SIZES = {"wide": (1000, 420), "narrow": (360, 330)}  # of the picture on a screen and on a phone, in pixels
_LEFT, _RIGHT, _BOTTOM, _ROW = 52.0, 10.0, 40.0, 17.0
_PRIOR_SHARE = 0.22  # of the height that the prior's highest point takes
_PRIOR_POINTS = 120
_PARTS = 1e4  # high / low of the objective's axis up to which parts of its decades are named
_LETTERS = 40  # of a name at the pointer and in the legend
Numbers = Sequence[float] | FloatArray


@dataclass(frozen=True)
class AnswerChart:
    """A drawing of one width. Args: view: what is drawn; width, height: in pixels."""

    view: AnswerView
    width: int
    height: int

    @cached_property
    def lines(self) -> list[tuple[str, float, str]]:
        """(class, LR, label) of each upright line, in the order of their labels from above."""
        view = self.view
        lines = [("best", view.best.lr, f"answer {view.best.lr:.3g}")]
        if view.tested:
            middle = math.exp(float(np.mean([math.log(each.lr) for each in view.tested])))
            lines.append(("tested", middle, f"range test {middle:.3g}"))
        if view.today is not None:
            lines.append(("today", view.today, f"today {view.today:.3g}"))
        return lines

    @cached_property
    def across(self) -> ChartScale:
        """The LR's axis."""
        lrs = [*self.view.trials["lr"], *(each.lr for each in self.view.tested), *(lr for _, lr, _ in self.lines)]
        low, high = min(lrs), max(lrs)
        room = max((high / low) ** 0.02, 1.02)
        return ChartScale(low / room, high * room, True, _LEFT, self.width - _RIGHT)

    @cached_property
    def up(self) -> ChartScale:
        """The objective's axis."""
        view = self.view
        interval = view.best.interval if view.best.confirmed else None
        ends = [] if interval is None else [interval.mean]
        ends += [view.today_value] if view.today is not None else []
        low, high, log = fitting(
            np.concatenate([view.trials["objective"].to_numpy(dtype=float), view.fitted.mean, ends])
        )
        return ChartScale(low, high, log, self.height - _BOTTOM, 22.0 + _ROW * len(self.lines))

    def draw(self, description: str, kind: str) -> Markup:
        """The SVG. description: what it shows, in words; kind: its class, by which the page shows one or the other."""
        up, across, view = self.up, self.across, self.view
        axes = {
            "box": [across.first, up.last, across.last, up.first], "title": "",
            "x": across.to_json(view.lr_name), "y": up.to_json(view.objective),
        }  # fmt: skip
        parts = [
            self._band(), self._prior(), self._grid(), *(self._fit(each.lrs, each.mean, "other") for each in view.others.values()),
            self._fit(view.fitted.lrs, view.fitted.mean, "fit"), *self._lines(), *self._trials(), self._today(), self._confirmed(),
        ]  # fmt: skip
        return element(
            "svg", Markup("\n").join(part for part in parts if part), class_=f"chart {kind}", role="img",
            aria_label=description, viewBox=f"0 0 {self.width} {self.height}", data_axes=json.dumps([axes]),
        )  # fmt: skip

    def _grid(self) -> Markup:
        up, across = self.up, self.across
        parts = []
        for value, name in up.ticks(_PARTS):
            y = up.at(value)
            parts += [
                element("path", class_="grid", d=f"M{across.first:.1f},{y:.1f}H{across.last:.1f}"),
                element("text", name, x=_LEFT - 6, y=y + 4, text_anchor="end"),
            ]
        for value, name in across.ticks():
            x = across.at(value)
            parts += [
                element("path", class_="grid", d=f"M{x:.1f},{up.first:.1f}V{up.last:.1f}"),
                element("text", name, x=x, y=up.first + 16, text_anchor="middle"),
            ]
        log = " (log)" if up.log else ""
        middle = (across.first + across.last) / 2
        parts += [
            element("path", class_="axis", d=f"M{across.first:.1f},{up.last:.1f}V{up.first:.1f}H{across.last:.1f}"),
            element("text", f"{_cut(self.view.objective)}{log}", class_="name", x=0, y=13),
            element(
                "text", f"{self.view.lr_name} (log)", class_="name", x=middle, y=self.height - 6, text_anchor="middle"
            ),
        ]
        return Markup("").join(parts)

    def _band(self) -> Markup:
        low, high = self.view.fitted.bounds
        if not math.isfinite(low) or not low < high:
            return Markup("")
        left, right = self.across.at(low), self.across.at(high)
        up = self.up
        return element("rect", class_="band", x=left, y=up.last, width=right - left, height=up.first - up.last)

    def _prior(self) -> Markup:
        prior = self.view.prior
        if prior is None:
            return Markup("")
        lrs = np.geomspace(max(prior.low, self.across.low), min(prior.high, self.across.high), _PRIOR_POINTS)
        density = prior.pdf(lrs)
        up = self.up
        heights = up.first - density / density.max() * _PRIOR_SHARE * (up.first - up.last)
        return element(
            "path", class_="prior", d=f"{self._path(lrs, heights)}V{up.first:.1f}H{self.across.at(lrs[0]):.1f}Z"
        )

    def _path(self, lrs: Numbers, heights: Numbers) -> str:
        places = [f"{self.across.at(lr):.1f},{y:.1f}" for lr, y in zip(lrs, heights, strict=True)]
        return f"M{'L'.join(places)}"

    def _fit(self, lrs: Numbers, values: Numbers, kind: str) -> Markup:
        there = [(lr, self.up.at(value)) for lr, value in zip(lrs, values, strict=True) if self._shows(lr)]
        return element("path", class_=kind, d=self._path(*zip(*there, strict=True))) if len(there) > 1 else Markup("")

    def _shows(self, lr: float) -> bool:
        return self.across.low <= lr <= self.across.high

    def _lines(self) -> list[Markup]:
        """Upright lines with labels at the top, a row each, so that no two meet; a tick below for each range test."""
        parts, labels = [], []
        for row, (kind, lr, label) in enumerate(self.lines):
            x, y = self.across.at(lr), 32.0 + _ROW * row
            left = x > self.width - 9.0 * len(label)
            anchor, beside = ("end", x - 5) if left else ("start", x + 5)
            parts.append(element("path", class_=f"upright {kind}", d=f"M{x:.1f},{self.up.first:.1f}V{y - 10:.1f}"))
            labels.append(element("text", label, class_="label", x=beside, y=y, text_anchor=anchor))
        for each in self.view.tested if len(self.view.tested) > 1 else ():
            x = self.across.at(each.lr)
            says = f"range test, seed {each.seed}: suggested {each.lr:.3g}"
            tick = f"M{x:.1f},{self.up.first:.1f}v-12"
            parts.append(element("path", element("title", says), class_="upright tested tick", d=tick))
        return [*parts, *labels]

    def _trials(self) -> list[Markup]:
        view, rows = self.view, self.view.trials
        columns = (rows[name].tolist() for name in ("strategy", "seed", "number", "lr", "objective", "diverged"))
        parts = []
        for strategy, seed, number, lr, value, diverged in zip(*columns, strict=True):
            ended = "diverged" if diverged else f"{view.objective} {value:.4g}"
            says = f"{_cut(str(strategy))}, seed {seed}, trial {number}: {view.lr_name} {lr:.3g}, {ended}"
            draw = cross if diverged else marker
            parts.append(draw(view.looks[str(strategy)], self.across.at(lr), self.up.at(value), title=says))
        return parts

    def _today(self) -> Markup:
        """What today's LR gives."""
        view = self.view
        if view.today is None or not math.isfinite(view.today_value):
            return Markup("")
        says = f"used today: {view.today:.3g}, {view.objective} {view.today_value:.4g}"
        x, y = self.across.at(view.today), self.up.at(view.today_value)
        return element("circle", element("title", says), class_="today point", cx=x, cy=y, r=6)

    @property
    def _again(self) -> str:
        """What was measured where the answer was trained again: on test_data, where there is one."""
        return measured(self.view.best.objective, on_test_data=self.view.best.on_test_data)

    def _confirmed(self) -> Markup:
        """The mean over fresh seeds, with its interval."""
        best, up = self.view.best, self.up
        if not best.confirmed or best.interval is None:
            return Markup("")
        x, y = self.across.at(best.lr), up.at(best.value)
        says = f"trained again on {best.interval.n} fresh seeds: {self._again} {best.value:.4g}"
        parts = []
        if math.isfinite(best.interval.low):
            ends = [up.at(end) for end in (best.interval.low, best.interval.high)]
            says += f" (95% interval {best.interval.low:.4g} to {best.interval.high:.4g})"
            parts.append(element("path", class_="confirmed", d=f"M{x:.1f},{ends[0]:.1f}V{ends[1]:.1f}"))
        parts.append(element("circle", element("title", says), class_="confirmed point", cx=x, cy=y, r=6))
        return Markup("").join(parts)

    @property
    def legend(self) -> list[tuple[Markup, str]]:
        """A small picture and what it stands for."""
        view = self.view
        entries = [(marker(view.looks[name], 10.0, 7.0), _cut(name)) for name in present(view.trials["strategy"])]
        if view.trials["diverged"].any():
            edge = "the worst of the others" if math.isnan(view.fitted.start) else "step 0"
            entries.append((cross(Look(GREY, "x", "-"), 10.0, 7.0), f"diverged, drawn at {edge}"))
        entries.append(
            (
                element("path", class_="fit", d="M0,7H20"),
                "fit, mean over seeds" if len(view.fitted.seeds) > 1 else "fit",
            )
        )
        if self._band():
            entries.append((element("rect", class_="band", width=20, height=14), "within 5% of the best"))
        if view.others:
            names = name_list([_cut(name) for name in view.others])
            entries.append((element("path", class_="other", d="M0,7H20"), f"fits under {names}"))
        if view.tested:
            entries.append((element("path", class_="upright tested", d="M0,7H20"), "suggested by the range test"))
        if view.prior is not None:
            entries.append((element("rect", class_="prior", width=20, height=14), "prior of the search"))
        if view.today is not None:
            entries.append((element("path", class_="upright today", d="M0,7H20"), "used today"))
        if view.best.confirmed:
            entries.append(
                (
                    element("circle", class_="confirmed", cx=10, cy=7, r=5),
                    f"trained again on fresh seeds: {self._again}",
                )
            )
        return [(element("svg", picture, width=20, height=14, aria_hidden="true"), text) for picture, text in entries]


def _cut(name: str) -> str:
    """A name that is not too long."""
    return plain(name, _LETTERS).replace(r"\$", "$")
