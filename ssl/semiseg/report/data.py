"""What every table and figure of a report is made from."""

from typing import NamedTuple

from semiseg.report.metrics import Metrics, metrics_info, pretty
from semiseg.report.scores import ScoredTable, score_table
from semiseg.results import Results, StudyRecord


class ReportData(NamedTuple):
    """A results folder, scored."""

    results: Results
    table: ScoredTable
    label: str  # of the score in a column head: "test mIoU"
    metrics: Metrics  # without lines when the study asks for no other metric than the score

    @property
    def study(self) -> StudyRecord:
        """What was asked."""
        return self.results.study


def report_data(results: Results) -> ReportData:
    """Score a results folder."""
    table, score = score_table(results), results.study.score
    return ReportData(results, table, f"{score.split} {pretty(score.metric)}", metrics_info(results, table))
