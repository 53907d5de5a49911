"""Start a worker: set its import path, then hand over to `rnnbench.harness.worker.loop`.

The coordinator runs this file by its path, since nothing may be imported before the import path is set. The argument is
JSON: `paths`, the folders to import from before all installed packages, and the worker's `options`.
"""

import json
import os
import sys
import sysconfig


def import_path(entries: list[str], first: list[str]) -> list[str]:
    """The standard library, then `first`, then the other entries of a `sys.path`.

    Python itself puts $PYTHONPATH and the current folder before the standard library, so a file `random.py` there
    would be imported instead of Python's own.
    """
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    folders |= {os.path.join(folder, "lib-dynload") for folder in folders}  # noqa: PTH118 - pathlib takes 5 ms to import
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    standard = [entry for entry in entries if entry in folders or os.path.basename(entry) == archive]  # noqa: PTH119
    return list(dict.fromkeys([*standard, *first, *entries]))


if __name__ == "__main__":
    started_with = json.loads(sys.argv.pop(1))
    sys.path[:] = import_path(sys.path, started_with["paths"])

    from rnnbench.harness.worker.loop import main

    main(**started_with["options"])
