"""The API reference: `python -m tests.reference FOLDER` writes what docstrings say as HTML (`make docs`)."""

import importlib
import sys
import warnings
from pathlib import Path

import pdoc

import rnnbench

PAGES: dict[str, list[str]] = {  # what is shown of each module
    "rnnbench": rnnbench.__all__,
    "rnnbench.pytest_plugin": [],  # its docstring
    "rnnbench.pytest_plugin.assertions": ["Assertions"],
    "rnnbench.report.notebook.measured": ["Measured"],
    "rnnbench.report.notebook.explained": ["Explained"],
    "rnnbench.errors": ["UserError"],
}


def write(folder: Path) -> Path:
    """Write a page for each of `PAGES` into `folder`, of this process's modules; the path of the first page."""
    specs = []
    for name, shown in PAGES.items():
        module = importlib.import_module(name)
        # pdoc looks into a module's dictionary, where what is imported when it is asked for is not yet.
        vars(module).update({one: getattr(module, one) for one in shown}, __all__=shown)
        specs += [name, f"!{name}\\..*"]
    pdoc.render.configure(show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of annotations within pandas, which `Measured` inherits
        pdoc.pdoc(*specs, output_directory=folder)
    return folder / "rnnbench.html"


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
