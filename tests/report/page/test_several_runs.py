"""The files of a report of several runs."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from rnnbench.analysis.history import history
from rnnbench.analysis.together import together
from rnnbench.report.history import section as history_section
from rnnbench.report.page import several_runs
from rnnbench.report.together import section as together_section
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.validation.history_simulated import stored_run

HOSTILE = 'x.py:<script>alert("1")</script>|_%\\'


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def files() -> dict[str, bytes]:
    cases = [Case(HOSTILE, "loop", small.workload(batch_size=size)) for size in range(1, 4)]
    logs = np.random.default_rng(1).normal(0, 0.01, (4, 3, 6))
    runs = [stored_run(index, cases, logs[index]) for index in range(4)]
    facts = {"git": {"commit": "<b>", "dirty": True}, "<i>": "<u>"}
    runs[1] = replace(runs[1], info=replace(runs[1].info, environment=facts))
    sections = [history_section(history(runs)), together_section(together(runs, 0.025))]
    return several_runs.render("<h1>&", sections)


def test_hostile_names_are_text_and_every_link_leads_to_a_file() -> None:
    rendered = files()
    page = Page(rendered["index.html"].decode())
    assert not {"b", "i", "u", "iframe"} & set(page.tags)
    assert page.tags.count("script") == 1  # the page's own
    assert HOSTILE in page.text
    assert "Not the same in these runs:" in page.text
    assert "this run:" not in page.text
    links = [link for link in page.links if link.startswith(("figures/", "tables/"))]
    assert sorted(links) == sorted(name for name in rendered if name != "index.html")
    assert not re.search(r"@import|url\((?!#)|\bsrc=", rendered["index.html"].decode())
    assert b"<script>" not in b"".join(content for name, content in rendered.items() if name.endswith((".md", ".svg")))


def test_the_same_runs_give_the_same_bytes() -> None:
    assert files() == files()
