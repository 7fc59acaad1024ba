"""The figures of a search's page, in their order.

A figure is one function, from what the search's folder holds to what is drawn, and one line here
(`semiseg.report.markup.PageFigure`).
"""

from semiseg.report.markup import PageFigure
from semiseg.search.curves import draw_courses, draw_ema, draw_lambda
from semiseg.search.folder import SearchResults
from semiseg.search.front import draw_pareto
from semiseg.search.importance import draw_importance
from semiseg.search.optuna_figures import draw_contour, draw_history, draw_parallel, draw_slices

SEARCH_FIGURES: tuple[PageFigure[SearchResults], ...] = (
    PageFigure("history", "History", draw_history),
    PageFigure("courses", "Intermediate values", draw_courses, wide=True),
    PageFigure("importance", "Importance", draw_importance),
    PageFigure("parallel", "Parallel coordinates", draw_parallel, wide=True),
    PageFigure("slices", "Slices", draw_slices),
    PageFigure("contour", "Contour", draw_contour),
    PageFigure("lambda", "Lambda curve", draw_lambda),
    PageFigure("ema", "EMA curve", draw_ema),
    PageFigure("pareto", "Pareto front", draw_pareto),
)
