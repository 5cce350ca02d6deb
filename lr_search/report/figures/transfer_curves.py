"""What pilots tell: a panel for each schedule, optimizer and seed."""

from __future__ import annotations

import pandas as pd

from lr_search.report.figures.panels import Panels, panel_grid
from lr_search.report.figures.picture import Picture, new_picture
from lr_search.report.plots.transfer_plot import plot_transfer
from lr_search.scaling.told import transfer_lines, transfers_of

_MOST = 12  # in one figure


def transfers_picture(panels: Panels) -> Picture | None:
    """Each transfer, two a row; None where there is none."""
    told = transfers_of(panels.findings.records)
    if not told:
        return None
    shown = told[:_MOST]
    figure, axes = panel_grid(len(shown), columns=2, width=5.6 if len(shown) > 1 else 6.8, height=4.8)
    for each, ax in zip(shown, axes, strict=True):
        plot_transfer(each, ax)
    finding = transfer_lines(panels.findings.records)[:_MOST]
    finding += [f"Of {len(told)} the first {_MOST} are drawn."] if len(told) > _MOST else []
    tables = [
        each.table.assign(schedule=each.schedule, optimizer=each.optimizer, seed=each.seed, full_lr=each.lr)
        for each in shown
    ]
    title = "Pilots: objective against learning rate, and where the full training's best is expected"
    return new_picture("transfers", title, finding, figure, pd.concat(tables), len(told) <= _MOST)
