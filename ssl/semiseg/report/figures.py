"""The figures of a study's page, in their order.

A figure is one function, from the report's data to what is drawn, and one line here (`semiseg.report.markup.PageFigure`).
"""

from semiseg.report.beside import draw_beside
from semiseg.report.calibration import draw_calibration
from semiseg.report.classes import draw_classes
from semiseg.report.confusion import draw_confusion
from semiseg.report.curve import draw_curve
from semiseg.report.data import ReportData
from semiseg.report.deltas import draw_deltas
from semiseg.report.disagreement import draw_disagreement
from semiseg.report.effects_figures import draw_dumbbell, draw_interactions, draw_shapley
from semiseg.report.markup import PageFigure
from semiseg.report.pseudo import draw_pseudo
from semiseg.report.roles import draw_roles
from semiseg.report.room import draw_headroom
from semiseg.report.sources import draw_sources
from semiseg.report.timeline import draw_timeline
from semiseg.report.training import draw_losses, draw_selection
from semiseg.report.variances import draw_variances

FIGURES: tuple[PageFigure[ReportData], ...] = (
    PageFigure("curve", "Curve", draw_curve, first=True),
    PageFigure("shapley", "Shapley values", draw_shapley, first=True),
    PageFigure("dumbbell", "Left out and left in", draw_dumbbell, first=True),
    PageFigure("interactions", "Main effects and interactions", draw_interactions, first=True),
    PageFigure("headroom", "Headroom", draw_headroom),
    PageFigure("beside", "Beside the paper", draw_beside),
    PageFigure("deltas", "Deltas", draw_deltas),
    PageFigure("sources", "Sources of variance", draw_sources),
    PageFigure("variances", "Variances", draw_variances),
    PageFigure("classes", "Classes", draw_classes, wide=True),
    PageFigure("confusion", "Confusion", draw_confusion),
    PageFigure("calibration", "Calibration", draw_calibration),
    PageFigure("roles", "Roles", draw_roles),
    PageFigure("training", "Training", draw_selection, wide=True),
    PageFigure("losses", "Loss terms", draw_losses, wide=True),
    PageFigure("pseudo", "Pseudo-masks", draw_pseudo, wide=True),
    PageFigure("disagreement", "Student and teacher apart", draw_disagreement, wide=True),
    PageFigure("timeline", "Timeline", draw_timeline, wide=True),
)
