"""What is published: the metadata that a package index shows, and the files of the sdist and the wheel."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest

import rnnbench
from rnnbench.version import __version__

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
REPOSITORY = re.compile(r"https://(?:github\.com|raw\.githubusercontent\.com)/[\w-]+/rnnbench/(?:blob/)?")

backend = pytest.importorskip("hatchling.build", reason="hatchling, which builds the wheel, is not installed")
pytest.importorskip("hatch_fancy_pypi_readme", reason="hatch-fancy-pypi-readme, for the links of README.md, is missing")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / str(backend.build_wheel(str(folder)))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> EmailMessage:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        message = message_from_bytes(archive.read(name), policy=policy.default.clone(utf8=True))
    assert isinstance(message, EmailMessage)
    return message


def test_the_metadata_says_whose_it_is_where_it_is_and_what_it_is_about(metadata: EmailMessage) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("rnnbench", __version__)
    assert (metadata["License-Expression"], metadata["Author"]) == ("MIT", "the rnnbench authors")
    assert metadata["Author"] in (ROOT / "LICENSE").read_text()
    labels = {url.partition(",")[0] for url in metadata.get_all("Project-URL", [])}
    assert labels == {"Repository", "Documentation", "Issues"}
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert "GRU" in metadata["Keywords"]


def test_the_citation_names_the_version() -> None:
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in cited
    assert f"version={{{__version__}}}" in (ROOT / "docs" / "paper.md").read_text()


def test_every_classifier_is_one_that_a_package_index_knows(metadata: EmailMessage) -> None:
    known = pytest.importorskip("trove_classifiers", reason="trove-classifiers comes with hatchling").classifiers
    assert set(metadata.get_all("Classifier", [])) <= known


def test_every_link_of_the_description_is_absolute_and_leads_to_a_file_of_the_repository(
    metadata: EmailMessage,
) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    links, own = (LINK.findall(text) for text in (metadata.get_content(), (ROOT / "README.md").read_text()))
    assert len(links) == len(own) > 5
    assert not re.search(r'(?:src|srcset)="(?!https://)', metadata.get_content())
    for link, relative in zip(links, own, strict=True):
        if relative.startswith("../../"):  # a page of the service that has the repository
            assert re.fullmatch(r"https://github\.com/[\w-]+/rnnbench/actions/[\w./-]+", link)
            continue
        prefix, file = REPOSITORY.match(link), link.partition("#")[0].partition(f"/v{__version__}/")[2]
        assert prefix, link
        assert file, link
        assert (ROOT / file).exists(), link
        assert link.endswith(f"/v{__version__}/{relative}")
        assert ("raw." in prefix.group()) == relative.endswith(".png")


def test_a_wheel_has_every_module_all_c_code_every_suite_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = Path(rnnbench.__file__).parent
    files = {f"rnnbench/{file.relative_to(package).as_posix()}" for file in package.rglob("*.*")}
    modules = {name for name in files if name.endswith((".py", ".c", ".h"))}
    assert "rnnbench/kernels/vectors.h" in modules
    suites = {f"rnnbench/shipped_suites/{file.name}" for file in (ROOT / "suites").glob("*.toml")}
    assert modules | suites | {"rnnbench/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} == {"rnnbench", f"rnnbench-{__version__}.dist-info"}


def test_an_sdist_has_what_the_wheel_is_built_from_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / backend.build_sdist(str(tmp_path))) as archive:
        parts = {name.split("/")[1] for name in archive.getnames()}
    needed = {"rnnbench", "suites", "pyproject.toml", "README.md", "LICENSE", "PKG-INFO"}
    assert needed <= parts <= needed | {".gitignore"}


IMPORT = "import sys; sys.path.insert(0, sys.argv.pop(1))"


def test_what_is_in_the_wheel_works_by_itself_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    empty.mkdir()

    def run(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", f"{IMPORT}; {code}", str(installed), *arguments]
        return subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True).stdout

    main = "from rnnbench.__main__ import main; main()"
    assert "rnnbench run quick" in run(main, "--help")
    assert "cell=lstm" in run(main, "list", "cases", "quick")
    suite = run("from rnnbench.suite.places import find; print(find('quick'))").strip()
    assert suite == str(installed / "rnnbench/shipped_suites/quick.toml")
    assert not list(empty.iterdir())
