"""The report's figures: each a function that takes a table of `Findings` and an `ax`, and returns the Axes."""

from lr_search.report.figures.all_pictures import pictures
from lr_search.report.figures.best_so_far import plot_anytime
from lr_search.report.figures.forest import plot_forest
from lr_search.report.figures.learning_curves import plot_learning_curves
from lr_search.report.figures.objective_by_lr import plot_objective_by_lr
from lr_search.report.figures.picture import Picture
from lr_search.report.figures.pruned_trials import plot_pruning
from lr_search.report.figures.range_test_curves import plot_range_test
from lr_search.report.figures.schedule_shapes import plot_schedules, shapes_frame
from lr_search.report.figures.steps_spent import plot_costs
from lr_search.report.figures.timeline import plot_timeline

__all__ = [
    "Picture",
    "pictures",
    "plot_anytime",
    "plot_costs",
    "plot_forest",
    "plot_learning_curves",
    "plot_objective_by_lr",
    "plot_pruning",
    "plot_range_test",
    "plot_schedules",
    "plot_timeline",
    "shapes_frame",
]
