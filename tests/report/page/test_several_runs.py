"""The files of a report of several runs."""

import re
from dataclasses import replace

import numpy as np

from rnnbench.analysis.history import history
from rnnbench.analysis.stored import together
from rnnbench.report.history import section as history_section
from rnnbench.report.page.page import files, page_of_several
from rnnbench.report.together import section as together_section
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.pages import Page
from tests.validation.history_simulated import stored_run

HOSTILE = 'x.py:<script>alert("1")</script>|_%\\'


def test_hostile_names_are_text_and_every_link_leads_to_a_file() -> None:
    cases = [Case(HOSTILE, "loop", small.workload(batch_size=size)) for size in range(1, 4)]
    logs = np.random.default_rng(1).normal(0, 0.01, (4, 3, 6))
    runs = [stored_run(index, cases, logs[index]) for index in range(4)]
    facts = {"git": {"commit": "<b>", "dirty": True}, "<i>": "<u>"}
    runs[1] = replace(runs[1], info=replace(runs[1].info, environment=facts))
    sections = [history_section(history(runs)), together_section(together(runs, 0.025))]
    written = files(page_of_several("<h1>&", sections))
    html = written["index.html"].decode()
    page = Page(html)
    assert not {"b", "i", "u", "iframe"} & set(page.tags)
    assert page.tags.count("script") == 1  # the page's own
    assert HOSTILE in page.text
    assert "Not the same in these runs:" in page.text
    links = [link for link in page.all("href") if link.startswith(("figures/", "tables/"))]
    assert sorted(links) == sorted(name for name in written if name != "index.html")
    assert not re.search(r"@import|url\((?!#)|\bsrc=", html)
    assert b"<script>" not in b"".join(content for name, content in written.items() if name.endswith((".md", ".svg")))
