"""The documentation's site: its pages, and that it can be built strictly."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import rnnbench
from tests.rules import site

ROOT = site.ROOT
CONFIGURED = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def listed(entry: object) -> list[str]:
    """Return the pages that a part of the navigation names."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    assert isinstance(parts, type({}.values()) | list)
    return [name for part in parts for name in listed(part)]


def test_the_navigation_has_every_page() -> None:
    names = {site.place(file).as_posix() for file in site.pages()}
    wanted = {name for name in names if name.startswith("docs/")} - {"docs/README.md"}
    made = {"docs/python.md", "docs/commands.md", "examples/report.md", "examples/history.md"}
    in_navigation = set(listed(CONFIGURED["nav"]))
    assert wanted <= in_navigation
    assert in_navigation <= names | made


def test_the_page_of_the_python_api_has_every_public_name_and_method() -> None:
    page = site.python_api()
    headings = set(re.findall(r"heading: rnnbench\.([\w.]+)", page))
    assert headings == {*rnnbench.__all__} - {"plot"} | {f"plot.{name}" for name in rnnbench.plot.__all__}
    assert "FrameResult" in page


def test_a_link_to_a_folder_is_its_words_and_badges_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "page.md"
    file.write_text("[![a](../../x/badge.svg)](../../x)\n[a run](folder), [a page](other.md), ![it](folder)\n")
    assert site.without_folders(file) == "a run, [a page](other.md), ![it](folder)\n"


@pytest.mark.slow
def test_the_site_can_be_built_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs is not installed: make docs")
    site.write(tmp_path / "pages")
    config = CONFIGURED | {"docs_dir": str(tmp_path / "pages"), "site_dir": str(tmp_path / "site")}
    config["plugins"][1]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("index", "docs/tutorial", "docs/python", "docs/commands", "examples/report", "examples/history"):
        assert (tmp_path / "site" / f"{name}.html").is_file(), name
