"""The API reference: `python -m tests.rules.reference FOLDER` writes the docstrings as HTML (`make docs`)."""

import importlib
import sys
import warnings
from pathlib import Path

import pdoc

import rnnbench

PAGES: dict[str, list[str]] = {  # module -> the names that its page shows
    "rnnbench": [name for name in rnnbench.__all__ if name not in ("UserError", "plot")],
    "rnnbench.plot": rnnbench.plot.__all__,
    "rnnbench.pytest_plugin": ["Assertions"],
    "rnnbench.report.fastest": ["FastestModule"],
    "rnnbench.report.frame_result": ["FrameResult"],
    "rnnbench.errors": ["UserError"],
}


def write(folder: Path) -> Path:
    """Write a page for each of `PAGES` into `folder`, from this process's modules; return the first page's path."""
    specs = []
    for name, shown in PAGES.items():
        module = importlib.import_module(name)
        # pdoc looks into a module's dictionary, which does not yet hold the names that are imported on first use.
        vars(module).update({attribute: getattr(module, attribute) for attribute in shown}, __all__=shown)
        specs += [name, f"!{name}\\..*"]
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from annotations that are imported for types only
        pdoc.pdoc(*specs, output_directory=folder)
    return folder / "rnnbench.html"


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
