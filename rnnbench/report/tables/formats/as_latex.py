"""A table in LaTeX, for a paper: needs `\\usepackage{booktabs}`, and `longtable` if it is long."""

from collections.abc import Iterable

from rnnbench.report.tables.table import Table
from rnnbench.report.words.axes import one_line

# Characters that are special in TeX, and those that pdflatex lacks in its usual fonts.
WRITTEN = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "×": r"\ensuremath{\times}",
    "µ": r"\textmu{}",
    "±": r"\ensuremath{\pm}",
    "→": r"\ensuremath{\to}",
    "–": "--",
    "—": "---",
    "·": r"\textperiodcentered{}",
    "…": r"\ldots{}",
}
ESCAPES = str.maketrans(WRITTEN)
PAGE = 45  # rows; a longer table goes over several pages


def render(table: Table) -> str:
    """A table with rules from booktabs and numbers on the right; a longtable if it has more rows than a page."""
    columns = "".join("r" if numeric else "l" for numeric in table.numeric)
    head = f"{_row(table.headers)}\n\\midrule"
    body = [
        "\\addlinespace\n" * (index in table.breaks and index > 0) + _row(row) for index, row in enumerate(table.rows)
    ]
    caption = escape(" ".join(filter(None, [f"{table.title}.", table.note])))
    name = table.name.replace("_", "-")
    if len(table.rows) > PAGE:
        opened = (
            f"\\begin{{longtable}}{{{columns}}}\n\\caption{{{caption}}}\\label{{tab:{name}}}\\\\\n"
            f"\\toprule\n{head}\n\\endfirsthead\n\\toprule\n{head}\n\\endhead\n\\bottomrule\n\\endfoot"
        )
        return "\n".join([opened, *body, "\\end{longtable}"]) + "\n"
    opened = f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\\label{{tab:{name}}}"
    opened += f"\n\\begin{{tabular}}{{{columns}}}"
    return "\n".join([opened, "\\toprule", head, *body, "\\bottomrule", "\\end{tabular}", "\\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Text that TeX sets as it is, on one line and in one cell. Non-Latin letters are left to the engine."""
    return "-{}-".join(part.translate(ESCAPES) for part in one_line(text).split("--"))  # two would be a dash


def _row(cells: Iterable[str]) -> str:
    # TeX would read a cell that starts with [ as the optional argument of the \\ before it.
    return " & ".join(f"{{}}{cell}" if cell.startswith("[") else cell for cell in map(escape, cells)) + r" \\"
