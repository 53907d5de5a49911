"""The reference run: `python -m tests.rules.front_page results/quick-...` puts a run of `quick` in its place.

The front page names the run; the pages and tests that show a real run read its name there. This program replaces the
name, the table and the two pictures that are made from it, removes the run before, and adds all to git's index. The run
must have been measured alone on a quiet machine, by `rnnbench run quick` (`make front-page` does both).
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rnnbench.analysis.run_times import read
from rnnbench.analysis.summary import summarize
from rnnbench.report.page import page
from rnnbench.store.folder import read_info
from tests.doubles import screens
from tests.doubles.browser import Opened, started
from tests.doubles.every_page import files_of, reference_run

ROOT = Path(__file__).parents[2]
FRONT_PAGE = ROOT / "README.md"
REPORTS = ROOT / "reports"
TABLE = re.compile(r"(?<=\n\n)(?:    .*\n)*(?:    .*\d×.*\n)(?:    .*\n)*")  # of the medians, with its headings
SEEN = {"width": 1100, "height": 1750}  # pixels of the picture of the page


def table(run: Path) -> str:
    """Return the table that the front page's command prints of a run, indented as a block of code."""
    summary = summarize(read(run))
    chosen = summary[summary["phase"].eq("inference") & summary["batch_size"].eq(1)]
    lines = screens.of_run(chosen, read_info(run)).splitlines()
    [rule] = [place for place, line in enumerate(lines) if line and not line.strip("─")]
    first = rule
    while lines[first - 1].startswith(("cell", " ")):
        first -= 1
    last = next(place for place in range(rule + 1, len(lines)) if lines[place].startswith(("No room", "The median")))
    return "".join(f"    {line}\n" for line in [*lines[first:rule], *lines[rule + 1 : last]])


def with_run(text: str, before: str, run: Path) -> str:
    """Return the text of the front page with another run in place of the one named `before`."""
    head, heading, body = text.replace(before, run.name).partition("## Measure")
    return head + heading + TABLE.sub(lambda _: table(run), body, count=1)


def draw(run: Path, folder: Path) -> None:
    """Write `quick.png`, the figure of a run's ratios, and `quick-page.png`, the beginning of its report."""
    report = folder / run.name
    page.put(*page.folder_of(run.name, [folder], report), files_of(run))
    (folder / "quick.png").write_bytes((report / "figures" / "ratio.png").read_bytes())
    with started() as browser:
        seen = Opened(browser, (report / page.PAGE).as_uri(), viewport=SEEN)
        seen.page.screenshot(path=folder / "quick-page.png")
        seen.close()


def replace(run: Path, scratch: Path) -> None:
    """Make a run below this repository's `results/` the reference run; `scratch`: an empty folder to draw in."""
    before = reference_run()
    draw(run, scratch)
    FRONT_PAGE.write_text(with_run(FRONT_PAGE.read_text(), before.name, run))
    for name in ("quick.png", "quick-page.png"):
        (REPORTS / name).write_bytes((scratch / name).read_bytes())
    if before != run:
        subprocess.run(["git", "rm", "-rq", before], cwd=ROOT, check=True)
    made = run, FRONT_PAGE, REPORTS / "quick.png", REPORTS / "quick-page.png"
    subprocess.run(["git", "add", "-f", *made], cwd=ROOT, check=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        replace(Path(sys.argv[1]).resolve(), Path(temporary))
    print(FRONT_PAGE)
