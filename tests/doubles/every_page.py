"""One page of every kind that rnnbench writes, for tests of what holds for all of them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.stored import together
from rnnbench.analysis.summary import Noise, noise, summarize
from rnnbench.report import why
from rnnbench.report.drawing import pictures
from rnnbench.report.page.page import PAGE_FILE, files, folder_of, page_of_several, put
from rnnbench.report.reports import run_page
from rnnbench.report.side_by_side import side_by_side
from rnnbench.report.verdicts import page as check_page
from rnnbench.report.verdicts.history import section_of_checks
from rnnbench.store.folder import read_info, read_profiles
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Case
from tests.doubles import checks, stored, streams
from tests.doubles import workload as small
from tests.doubles.once import made_once
from tests.profiling.profiles import profile
from tests.report.verdicts.samples import every_verdict

SLOWER = {finding.case: 1.05 for finding in every_verdict().findings if isinstance(finding.case, Case)}
REPORTS = "reports"
HOSTILE = "x.py:<script>alert(1)</script>"  # a browser that runs it shows a dialog, which no page may
ROOT = Path(__file__).parents[2]


def reference_run() -> Path:
    """The folder of the run of `quick` that the front page names; `make front-page` puts another in its place."""
    return _named("quick")


def example_run() -> Path:
    """The folder of the run of the front page's own cell."""
    return _named("MyCell")


def _named(suite: str) -> Path:
    """The folder of the run of a suite, or of a cell, that the front page names."""
    [name] = set(re.findall(rf"\(results/({suite}-[\w-]+)\)", (ROOT / "README.md").read_text()))
    return ROOT / "results" / str(name)


QUICK = reference_run()


@mock.patch.object(pictures, "png", return_value=b"")  # a page shows SVG, and drawing takes as long again
def write_all(folder: Path, _: mock.Mock) -> None:
    """Write a report of each kind below `folder`, with empty PNGs."""
    streamed = streams.summary(folder / "streamed").replace({"cell": {"lstm": HOSTILE}})
    reports = {
        "run": files_of(QUICK),
        "wide": _wide(),
        "streams": files(run_page(streamed, Noise(0.01, 0.02, 4, 0.0), stored.INFO)),
        "profile": _profiled(folder),
        "check": files(check_page.page_of(checks.write(folder / "check-of", every_verdict(), SLOWER))),
        "interrupted": files(check_page.page_of(checks.write(folder / "interrupted-of", None, SLOWER))),
        "together": _together(),
        "history": files(page_of_several("history", [section_of_checks(_checks(folder))])),
    }
    for name, content in reports.items():
        put(*folder_of(name, [folder], folder / REPORTS / name), content)


def pages(factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages of a report of each kind, those of cells included, by a name; made once in a test run."""
    reports = made_once(factory, "every-page", write_all) / REPORTS
    return {page.parent.relative_to(reports).as_posix(): page for page in sorted(reports.rglob(PAGE_FILE))}


def files_of(run: Path, profiles: Mapping[str, Profile] | None = None) -> dict[str, bytes]:
    """The files of the report of a run."""
    times = read_run_times(run)
    profiles = read_profiles(run) if profiles is None else profiles
    sections = why.sections(times, profiles) if profiles else []
    return files(run_page(summarize(times), noise(times), read_info(run), profiled=sections))


def _wide() -> dict[str, bytes]:
    """The report of a run of many ways."""
    return files_of(QUICK.parent / "ladder-wide-20261127T044800Z-d484")


def _profiled(folder: Path) -> dict[str, bytes]:
    """A run of two cells, each profiled at two batch sizes."""
    times: dict[Case, list[list[float]]] = {}
    profiles: dict[str, Profile] = {}
    for cell in ("gru", "lstm"):
        for batch in (1, 32):
            sizes: Any = {"batch_size": batch}
            seconds = {
                small.case(cell, **sizes): 1e-4,
                small.case(cell, "hoisted", **sizes): 7e-5,
                small.reference_case(cell, **sizes): 2e-5,
            }
            times |= {case: [[value * batch]] * 4 for case, value in seconds.items()}
            profiles |= {case.key: profile(value * batch, case=case.key) for case, value in seconds.items()}
            loop = next(iter(seconds)).key
            profiles[loop] = replace(profiles[loop], files={"trace": "t.json.gz"})
    run = stored.folder(folder / "results", times)
    return files_of(run, profiles)


def _together() -> dict[str, bytes]:
    cases = [small.case(cell, batch_size=size) for cell in ("gru", "lstm") for size in range(1, 5)]
    rng = np.random.default_rng(1)
    runs = [stored.stored_run(index, cases, rng.normal(0.5 + 0.1 * index, 0.005, (8, 12))) for index in range(3)]
    return files(page_of_several("three runs", [side_by_side(together(runs, 0.025))]))


def _checks(folder: Path) -> list[pd.DataFrame]:
    return checks.read_all([checks.write(folder / f"check-{number}", every_verdict(), SLOWER) for number in range(3)])
