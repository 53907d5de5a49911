"""A page for each profiled cell: its ladder, what its gap to the reference is made of, and how its time grows."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rnnbench.report.figures import all_figures
from rnnbench.report.page.page import PAGE, Page, files
from rnnbench.report.page.section import Section, SectionPart
from rnnbench.report.why import ProfiledCell
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.reference import is_reference
from rnnbench.text import plural

LADDER, GROWS = "ratio", "scaling"  # figures


@dataclass(frozen=True)
class CellPage:
    """One cell's page and the files beside it."""

    cell: str
    path: str  # of the page, within the report's folder
    contents: dict[str, bytes]


def render(summary: pd.DataFrame, found: Sequence[ProfiledCell], label: str, noise_floor: float) -> list[CellPage]:
    """A page for each cell in `found`, in order; `label` stands above its figures."""
    cells = dict.fromkeys(workload.cell for workload in found)
    return [
        _cell(f"cells/{number:02d}", cell, summary, [own for own in found if own.cell == cell], label, noise_floor)
        for number, cell in enumerate(cells, start=1)
    ]


def _cell(
    folder: str, cell: str, summary: pd.DataFrame, workloads: Sequence[ProfiledCell], label: str, noise_floor: float
) -> CellPage:
    own = _with_references(summary, cell)
    drawn = all_figures.render(own, label, only=(LADDER, GROWS), noise_floor=noise_floor)
    sections = [_why(workload) for workload in workloads]
    if GROWS in drawn:
        sections.append(Section("grows", "How does it grow?", [drawn[GROWS]]))
    name = one_line(cell)
    page = Page(
        name=name,
        heading=f"{name}: why it takes as long as it does",
        answer=workloads[0].far,
        facts=(f"{plural(len(workloads), 'workload')} profiled",),
        first=drawn.get(LADDER),
        sections=sections,
        home=f"../../{PAGE}",
        cases=own,
    )
    return CellPage(cell, f"{folder}/{PAGE}", {f"{folder}/{name}": content for name, content in files(page).items()})


def _with_references(summary: pd.DataFrame, cell: str) -> pd.DataFrame:
    """The cases of one cell, and the references of their groups."""
    own = summary[(summary["cell"] == cell) & ~is_reference(summary)]
    references = summary[is_reference(summary) & summary["reference"].isin(own["reference"].unique())]
    return pd.concat([references, own]).sort_index().reset_index(drop=True)


def _why(workload: ProfiledCell) -> Section:
    parts: list[SectionPart] = [
        workload.words,
        *workload.pictures,
        *workload.tables,
    ]
    if workload.traces:
        where = "; ".join(f"{one_line(name)}: {one_line(file)}" for name, file in workload.traces.items())
        parts.append(f"Traces, with every frame, operator and the bytes held: open them at ui.perfetto.dev. {where}.")
    return Section(f"why-{workload.name}", f"Why, {workload.title}?", parts)
