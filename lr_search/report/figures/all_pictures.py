"""Every figure of a report, in its order."""

from __future__ import annotations

from lr_search.kinds.checked import checked
from lr_search.report.figures.best_so_far import anytime_picture
from lr_search.report.figures.forest import forest_picture
from lr_search.report.figures.learning_curves import learning_curves_picture
from lr_search.report.figures.objective_by_lr import objective_by_lr_picture
from lr_search.report.figures.panels import Panels
from lr_search.report.figures.picture import Picture
from lr_search.report.figures.pruned_trials import pruning_picture
from lr_search.report.figures.range_test_curves import range_tests_picture
from lr_search.report.figures.schedule_shapes import schedules_picture
from lr_search.report.figures.steps_spent import costs_picture
from lr_search.report.figures.timeline import timeline_picture
from lr_search.report.figures.transfer_curves import transfers_picture
from lr_search.results.findings import Findings

DRAW = (
    anytime_picture,
    forest_picture,
    objective_by_lr_picture,
    range_tests_picture,
    transfers_picture,
    learning_curves_picture,
    schedules_picture,
    costs_picture,
    pruning_picture,
    timeline_picture,
)


@checked
def pictures(findings: Findings) -> list[Picture]:
    """The figures that the records allow: without a complete trial only the range tests and pilots, if there are any.

    Args:
        findings: of a comparison.
    """
    panels = Panels(findings)
    done = any(trial.state == "COMPLETE" for study in findings.searches for trial in study.trials)
    drawn = [draw(panels) for draw in (DRAW if done else (range_tests_picture, transfers_picture))]
    return [picture for picture in drawn if picture is not None]
