"""CSV: a row for each case, measured or not, or for each window: the columns that `rnnbench.load` gives."""

from rnnbench.report.export.columns import exported_frame
from rnnbench.report.export.exported import ExportedRun
from rnnbench.report.tables.formats import as_csv


def render(run: ExportedRun) -> str:
    """Full precision, empty where a value is missing; texts are safe for spreadsheets."""
    return as_csv.of_frame(exported_frame(run))
