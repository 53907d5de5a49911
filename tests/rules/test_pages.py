"""The documentation: pages, the help of every command as a new user reads it, and the examples of pages."""

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from syrupy.assertion import SnapshotAssertion

import rnnbench
from rnnbench import pytest_plugin
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import summarize
from rnnbench.cli import cli
from rnnbench.report.export import FORMAT_VERSION
from rnnbench.report.fastest import FastestModule
from rnnbench.report.frame_result import FrameResult
from rnnbench.report.verdicts.verdicts import VERDICTS_VERSION
from rnnbench.speedup.kept.manifest import FORMAT
from rnnbench.store.folder import read_info
from rnnbench.store.parity import AGREES, IS_REFERENCE, Parity
from rnnbench.store.run_info import SCHEMA_VERSION
from rnnbench.suite import suites
from tests.doubles.every_page import QUICK, example_run
from tests.rules import front_page
from tests.validation.__main__ import TABLES

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
MAX_WORDS = 13_000  # of all pages together
MAX_WORDS_OF_PAGE = {
    "README.md": 500,
    "CHANGELOG.md": 300,
    **dict.fromkeys(("docs/README.md", "docs/ci.md", "docs/paper.md"), 500),
    **dict.fromkeys(("docs/fastest.md", "docs/clusters-and-gpus.md"), 600),
    **dict.fromkeys(("docs/tutorial.md", "docs/reports.md"), 700),
    "docs/your-cell.md": 800,
    **dict.fromkeys(("docs/suites.md", "docs/stored-runs.md", "docs/method.md", "docs/validation.md"), 900),
    "docs/questions.md": 1_000,
    **dict.fromkeys(("docs/checks.md", "docs/how-it-is-built.md"), 1_200),
    **dict.fromkeys(("suites/README.md", "results/README.md", "reports/README.md"), 60),  # their pages are in `docs/`
}
OF_THE_HOST = "../../"  # begins a link to pages of the service that has the repository, such as the runs of a workflow
FUNCTIONS = [name for name in rnnbench.__all__ if name not in ("UserError", "plot")]
OF_MAKERS = {"docs/method.md", "docs/stored-runs.md", "docs/how-it-is-built.md", "docs/validation.md"}  # have its words
SECTIONS = ("first", "Args", "Returns", "Raises")  # of a docstring
ABOUT = {
    **dict.fromkeys(("measure", "sweep", "explain"), "modules input"),
    **{"fastest": "module input", "assert_not_slower": "mine", "same_weights": "mine"},
    **{"unroll": "cell", "with_head": "layer output_size", "load": "runs", "summarize": "windows"},
    **{"compare": "base head", "load_fastest": "folder"},
}
OF_ENGINE = re.compile(r"\b(?:turns?|visits?|rounds?|workloads?)\b(?!-)", re.IGNORECASE)
WITHOUT_TIMES = {"compare", "same_weights", "unroll", "with_head"}  # so that there is no unit to tell
PUBLIC: dict[str, Callable[..., object]] = {name: getattr(rnnbench, name) for name in FUNCTIONS}


@cache
def pages() -> list[str]:
    """The Markdown files of the repository that people write."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.md")]
    files += [ROOT / folder / "README.md" for folder in ("suites", "results", "reports", "tests/gpu")]
    return sorted(str(file.relative_to(ROOT)) for file in files)


def words(name: str) -> int:
    """The words of a page, code included, without the bars of tables and other signs."""
    return sum(any(letter.isalnum() for letter in word) for word in (ROOT / name).read_text().split())


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", pages())
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        if path.startswith(f"{OF_THE_HOST}actions/workflows/"):
            workflow = path.removeprefix(f"{OF_THE_HOST}actions/").removesuffix("/badge.svg")
            assert (ROOT / ".github" / workflow).exists(), link
            continue
        target = page if not path else page.parent / path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("name", MAX_WORDS_OF_PAGE)
def test_a_page_keeps_to_its_words(name: str) -> None:
    assert words(name) <= MAX_WORDS_OF_PAGE[name]


def test_pages_are_short_together_and_each_page_for_users_has_its_limit() -> None:
    assert sum(map(words, pages())) <= MAX_WORDS
    assert {name for name in pages() if name.startswith("docs/")} <= MAX_WORDS_OF_PAGE.keys()


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    assert {*(ROOT / "docs").glob("*.md")} - linked == {index}


def test_every_page_begins_with_what_to_type() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        begin = page.read_text().partition("\n## ")[0]
        assert re.search(r"^    \S", begin, re.MULTILINE), page


def test_every_path_of_the_code_that_a_page_names_is_there() -> None:
    named = re.compile(r"`((?:rnnbench|tests|suites)/[\w./-]+\.\w+)(?:::\w+[^`]*)?`")
    for name in pages():
        for path in named.findall((ROOT / name).read_text()):
            assert (ROOT / path).exists(), f"{name}: {path}"


def test_every_test_that_the_table_of_cheats_names_exists() -> None:
    table = (ROOT / "results" / "validation" / "cheats.md").read_text()
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", table)
    assert len(named) >= 6
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_kept_table_is_one_that_a_program_makes_and_none_is_missing() -> None:
    """Tables that are only made if they are named, since they need hours or a quiet machine, may be made later."""
    kept = {file.stem for file in (ROOT / "results" / "validation").glob("*.csv")}
    always = {name for name, table in TABLES.items() if not table.if_named}
    assert always <= kept <= set(TABLES)


def test_every_command_and_option_that_a_page_shows_is_one() -> None:
    shown = re.compile(r"(?:^    |^\$ |`)rnnbench ([a-z][\w-]*)([^`#\n]*)", re.MULTILINE)
    for name in pages():
        for command, rest in shown.findall((ROOT / name).read_text()):
            assert command in cli.commands, f"{name}: {command}"
            options = set(re.findall(r"(?<= )--[\w-]+", rest))
            assert options <= options_of(cli.commands[command]), f"{name}: {command}{rest}"


def options_of(command: click.Command) -> set[str]:
    """The long options of a command, and of its own commands."""
    options = {"--help"}
    for parameter in command.params:
        options.update(parameter.opts, parameter.secondary_opts)
    if isinstance(command, click.Group):
        options = options.union(*map(options_of, command.commands.values()))
    return options


def test_the_picture_of_the_front_page_shows_compared_cases_only() -> None:
    cases = pd.DataFrame({"parity": [AGREES, Parity("uncompared", "no weight mapping"), IS_REFERENCE]})
    assert front_page.compared(cases).index.tolist() == [0, 2]


def test_the_picture_of_the_front_page_has_five_cells_in_light_and_dark(tmp_path: Path) -> None:
    summary = summarize(read_run_times(QUICK))
    shown = front_page.five_cells(summary)
    assert shown.loc[shown["implementation"] == "loop", "cell"].nunique() == 5
    front_page.draw_ratios(summary, tmp_path)
    page = (ROOT / "README.md").read_text()
    for name in front_page.PICTURES:
        assert f'"reports/{name}"' in page
        with Image.open(ROOT / "reports" / name) as kept, Image.open(tmp_path / name) as drawn:
            assert kept.size == drawn.size
            assert kept.width >= 2 * 830  # sharp on a screen with two pixels for each of the page


def test_the_front_page_shows_what_is_printed_of_the_runs_that_it_names() -> None:
    page = (ROOT / "README.md").read_text()
    example = example_run()
    assert front_page.with_runs(page, (QUICK.name, example.name), QUICK, example) == page
    for run in (QUICK, example):
        assert front_page.printed(run) in page
    assert front_page.in_words(example) in page
    [(command, file, cell)] = front_page.COMMAND.findall(page)
    assert read_info(example).command == command
    assert f"class {cell}(" in front_page.cell_file(page)
    assert f"`{file}`" in page


def test_pages_for_users_have_no_words_of_the_engine() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        if (name := str(page.relative_to(ROOT))) not in OF_MAKERS:
            text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", page.read_text())
            assert [line for line in text.splitlines() if OF_ENGINE.search(line)] == [], name


def test_the_page_of_stored_runs_names_the_version_of_every_json() -> None:
    page = (ROOT / "docs" / "stored-runs.md").read_text()
    versions = {"run.json": SCHEMA_VERSION, "verdicts.json": VERDICTS_VERSION, "bisect.json": VERDICTS_VERSION}
    for file, version in (versions | {"fastest.json": FORMAT, "pytest-benchmark": FORMAT_VERSION}).items():
        [row] = re.findall(rf"^\| [^|]*\b{re.escape(file)}`[^|]*\| [^|]* \| (\S+) \|$", page, re.MULTILINE)
        assert row == str(version), file


def test_docstrings_of_the_python_api_and_helps_have_no_words_of_the_engine() -> None:
    """Windows are what `.windows` and `--windows` hold, so they may be named."""
    texts = {name: inspect.getdoc(thing) for name, thing in PUBLIC.items()}
    texts |= {f"plot.{name}": inspect.getdoc(getattr(rnnbench.plot, name)) for name in rnnbench.plot.__all__}
    texts |= {module.__name__: module.__doc__ for module in (rnnbench, rnnbench.plot, pytest_plugin)}
    for result in (FrameResult, FastestModule):
        texts |= {
            f"{result.__name__}.{name}": member.__doc__ for name, member in vars(result).items() if name[0] != "_"
        }
    for path in commands(cli):
        command = command_at(path)
        options = [str(option.help) for option in command.params if isinstance(option, click.Option)]
        texts[" ".join(path)] = "\n".join([command.help or "", *options])
    for name, text in texts.items():
        plain = re.sub(r"`[^`]*`", "", text or "")
        assert [line for line in plain.splitlines() if OF_ENGINE.search(line)] == [], name


def test_nothing_says_that_rnnbench_is_on_a_package_index() -> None:
    """It is not, until its first release."""
    files = [*map(ROOT.joinpath, pages()), *(ROOT / "rnnbench").rglob("*.py"), *(ROOT / ".github").rglob("*.yml")]
    assert [file for file in files if re.search(r"install [^\n`#]*?['\" ]rnnbench\b(?!/)", file.read_text())] == []


def test_the_reference_run_has_the_cases_of_quick() -> None:
    groups = suites.read_suite("quick").groups({}, None)
    assert set(rnnbench.load(QUICK).frame["case"]) == {case.key for group in groups for case in group.cases}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


FIRST = ("good", "bad", "base", "base_python", "only", "budget")  # the options that most users need


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_has_a_help_with_an_example_of_itself(path: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    text = CliRunner().invoke(cli, [*path, "--help"], terminal_width=100).output
    assert f"rnnbench {' '.join(path[:1])}" in text.partition("Example")[2]
    assert "Exit codes: 0 " in text
    assert "2 wrong usage" in text
    options = [option for option in command_at(path).params if isinstance(option, click.Option)]
    places = {option.name: place for place, option in enumerate(options)}
    first = [places[name] for name in FIRST if name in places]
    assert first == list(range(len(first)))
    for option in options:
        assert not option.multiple or "Can be given several times." in " ".join(str(option.help).split()), option.name
    assert text == snapshot


def test_the_list_of_commands(snapshot: SnapshotAssertion) -> None:
    text = CliRunner().invoke(cli, ["--help"], terminal_width=80).output
    assert "..." not in text.partition("Commands:\n")[2]
    assert text == snapshot


@pytest.mark.parametrize("name", list(PUBLIC))
def test_a_docstring_has_every_argument_what_is_returned_and_raised_and_shows_a_call(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    parts = dict(zip(SECTIONS, re.split(r"^(?:Args|Returns|Raises):$", text, flags=re.MULTILINE), strict=True))
    described = re.findall(r"^    (\w+): ", parts["Args"], re.MULTILINE)
    assert described == list(inspect.signature(PUBLIC[name]).parameters)
    assert parts["Returns"].strip()
    assert re.match(r"    [\w.]*Error: ", parts["Raises"].lstrip("\n"))
    assert f"    rnnbench.{name}(" in text or f" = rnnbench.{name}(" in text
    assert "second" in text or name in WITHOUT_TIMES


@pytest.mark.parametrize("name", list(PUBLIC))
def test_what_a_function_is_about_comes_first_and_all_else_is_given_by_name(name: str) -> None:
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    first = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert first == ABOUT[name].split()
    assert all(each.default is each.empty for each in parameters if each.name in first)
    defaults = {each.name: each.default for each in parameters}
    assert defaults.get("threads", 1) == 1
    assert defaults.get("phase", "inference") == "inference"


@pytest.mark.parametrize("name", rnnbench.plot.__all__)
def test_a_figures_docstring_says_what_its_panels_are_and_names_its_own_arguments(name: str) -> None:
    draw = getattr(rnnbench.plot, name)
    text = inspect.getdoc(draw) or ""
    shared = inspect.getdoc(rnnbench.plot) or ""
    arguments = set(inspect.signature(draw).parameters) - {"frame"}
    assert {argument for argument in arguments if f"`{argument}`" not in text + shared} == set()
    assert "panel" in text
    assert "ValueError" in shared


@pytest.mark.parametrize("result", [FrameResult, FastestModule])
def test_every_part_of_a_result_has_a_docstring(result: type) -> None:
    for name, member in vars(result).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            assert member.__doc__, name
