"""The reference runs: `python -m tests.rules.front_page QUICK [CELL]` puts runs below `results/` in their places.

The front page names two runs: one of `quick`, which the pages and tests that show a real run read its name from, and
one of the cell that stands on the page. This program replaces the names, what is printed of both, the sentences
that read the second, and the pictures of the first; it removes the runs before, and adds all to git's index. Without a
second run it measures the cell, by the page's own command. The runs must have been measured alone on a quiet machine
(`make front-page` does all of it, in two minutes). With the runs that are there already, only the text is made again.
"""

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rnnbench import plot
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import summarize
from rnnbench.report.drawing.marks import INKS
from rnnbench.report.drawing.pictures import report_style
from rnnbench.report.page import page
from rnnbench.report.words.names import is_reference
from rnnbench.report.words.units import digits
from rnnbench.store.folder import read_info
from tests.doubles import screens
from tests.doubles.browser import Opened, started
from tests.doubles.every_page import example_run, files_of, reference_run

ROOT = Path(__file__).parents[2]
FRONT_PAGE = ROOT / "README.md"
REPORTS = ROOT / "reports"
COMMAND = re.compile(r"^    (rnnbench run (\w+\.py):(\w+) .*?)(?:    #.*)?$", re.MULTILINE)
BLOCK = r"(?:    .*\n|\n(?=    ))+"
PRINTED_BY_BENCH = re.compile(rf"(?<=cells, `make bench` prints:\n\n){BLOCK}")
PRINTED_BY_RUN = re.compile(rf"(\[It prints\]\(results/[\w-]+\):\n\n){BLOCK}")
IN_WORDS = re.compile(r"^In words: .*(?:\n.+)*\n\nThe \d+ cases are .*(?:\n.+)*$", re.MULTILINE)
QUIETNESS = re.compile(r"(\d+% )?quiet \((±[\d.]+%)\)")
LONGEST = 10  # lines of a paragraph of the output; a longer one is a table of all cases
SEEN = {"width": 1100, "height": 1750}  # pixels of the picture of the page
PICTURES = {"quick.png": "light", "quick-dark.png": "dark"}  # of the front page
INCHES = (8.3, 2.9)  # of such a picture, which the page shows 830 pixels wide
DOTS_PER_INCH = 200
POINTS = 10  # of its letters


def cell_file(text: str) -> str:
    """Return the file of the cell that stands on the front page."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=\n*    ))+", text, re.MULTILINE)
    [block] = [block for block in blocks if re.search(r"^    class ", block, re.MULTILINE)]
    return "\n".join(line.removeprefix("    ") for line in block.rstrip().splitlines()) + "\n"


def printed(run: Path) -> str:
    """Return what `rnnbench run` prints of a run at 80 columns, as a block of code, without long tables."""
    text = screens.of_run(summarize(read_run_times(run)), read_info(run), width=80)
    paragraphs = [part.strip("\n").splitlines() for part in re.split(r"\n\s*\n", text)]
    short = [lines for lines in paragraphs if len(lines) <= LONGEST and not lines[0].startswith("Page:")]
    return "\n".join("".join(f"    {line}\n" for line in lines) for lines in short)


def in_words(run: Path) -> str:
    """Return the sentences that read the output: how far the cell is from its reference, by phase.

    Raises ValueError if a case has no ratio with an interval, or does not do its reference's work.
    """
    summary = summarize(read_run_times(run))
    own = summary[~is_reference(summary)]
    if own[["ratio", "ratio_low", "ratio_high"]].isna().any(axis=None) or not own["parity"].map(str).eq("agrees").all():
        raise ValueError(f"{run}: a case was not measured, or does not agree with its reference")
    name = own["cell"].iloc[0].rpartition(":")[2]
    layer = f"torch.nn.{own['reference'].iloc[0].upper()}"
    inference, training = (_range(own.loc[own["phase"] == phase, "ratio"]) for phase in ("inference", "training"))
    quietness = QUIETNESS.search(printed(run))
    assert quietness is not None, f"{run}: its first line says nothing of the core"
    share, width = quietness.groups()
    when = f"For {share}of the time nothing" if share else "Nothing"
    return (
        f"In words: {name} computes what {layer} computes. It takes {inference[0]} the time in inference "
        f"(median {inference[1]}),\nand {training[0]} in training (median {training[1]}).\n\n"
        f"The {len(summary)} cases are {len(own)} of {name}, each timed alternately with one of {layer}. {when} "
        f"else used\nthe core (*quiet*). A typical 95% interval is {width} wide."
    )


def _range(ratios: "pd.Series[float]") -> tuple[str, str]:
    """Return the range and the median of ratios, such as `1.24–4.62×` and `2.09×`."""
    return f"{digits(ratios.min())}–{digits(ratios.max())}×", f"{digits(ratios.median())}×"


def with_runs(text: str, before: tuple[str, str], quick: Path, example: Path) -> str:
    """Return the text of the front page with other runs in place of those named `before`."""
    text = text.replace(before[0], quick.name).replace(before[1], example.name)
    text = PRINTED_BY_BENCH.sub(lambda _: printed(quick), text, count=1)
    text = PRINTED_BY_RUN.sub(lambda match: match[1] + printed(example), text, count=1)
    return IN_WORDS.sub(lambda _: in_words(example), text, count=1)


def measured(text: str, scratch: Path) -> Path:
    """Run the front page's command on its cell in an empty folder; returns the run, moved below `results/`."""
    [(command, file, _)] = COMMAND.findall(text)
    (scratch / file).write_text(cell_file(text))
    subprocess.run([sys.executable, "-m", *shlex.split(command)], cwd=scratch, check=True)
    [run] = (scratch / "results").iterdir()
    return Path(shutil.move(run, ROOT / "results" / run.name))


def compared(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the cases whose outputs were compared with those of their references, and the references."""
    return summary[~summary["parity"].map(lambda parity: parity.kind == "uncompared").astype(bool)]


def five_cells(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the compared cases of the front page's picture: inference by a loop over the steps, and torch.nn's."""
    is_shown = summary["implementation"].isin(["loop", "torch.nn"]) & (summary["phase"] == "inference")
    return compared(summary[is_shown])


def draw_ratios(summary: pd.DataFrame, folder: Path) -> None:
    """Write the pictures of the front page, light and dark, into a folder."""
    for name, form in PICTURES.items():
        ink, soft, grid, card = (getattr(INKS[part], form) for part in ("ink", "soft", "grid", "card"))
        colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink)
        colours |= dict.fromkeys(("figure.facecolor", "axes.facecolor"), card)
        with report_style(**colours, **{"axes.edgecolor": soft, "grid.color": grid, "font.size": POINTS}):
            figure = Figure(figsize=INCHES, layout="constrained")
            axes = figure.subplots()
            plot.ratio(five_cells(summary), axes)
            legend = axes.get_legend()
            assert legend is not None
            for letters in legend.get_texts():
                letters.set_fontsize(POINTS)
            figure.savefig(folder / name, dpi=DOTS_PER_INCH, metadata={"Software": None})


def draw(run: Path, folder: Path) -> None:
    """Write the pictures of the front page, and `quick-page.png`, the beginning of the run's report."""
    draw_ratios(summarize(read_run_times(run)), folder)
    report = folder / run.name
    page.put(*page.folder_of(run.name, [folder], report), files_of(run))
    with started() as browser:
        seen = Opened(browser, (report / page.PAGE_FILE).as_uri(), viewport=SEEN)
        seen.page.screenshot(path=folder / "quick-page.png")
        seen.close()


def replace(quick: Path, example: Path, scratch: Path) -> None:
    """Make two runs below this repository's `results/` the reference runs; `scratch`: an empty folder to draw in."""
    before = reference_run(), example_run()
    made = [quick, example, FRONT_PAGE]
    FRONT_PAGE.write_text(with_runs(FRONT_PAGE.read_text(), (before[0].name, before[1].name), quick, example))
    if before[0] != quick:
        draw(quick, scratch)
        for name in (*PICTURES, "quick-page.png"):
            (REPORTS / name).write_bytes((scratch / name).read_bytes())
            made.append(REPORTS / name)
    for old, new in zip(before, (quick, example), strict=True):
        if old != new:
            subprocess.run(["git", "rm", "-rq", old], cwd=ROOT, check=True)
    subprocess.run(["git", "add", "-f", *made], cwd=ROOT, check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        runs = [Path(argument).resolve() for argument in sys.argv[1:]]
        if len(runs) == 1:
            empty = Path(temporary, "cell")
            empty.mkdir()
            runs.append(measured(FRONT_PAGE.read_text(), empty))
        replace(runs[0], runs[1], Path(temporary))
    print(FRONT_PAGE)
