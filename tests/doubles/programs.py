"""The programs of a fresh machine: tests without the mark `needs` find no others, whatever this machine has."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What README.md asks for, beside Python.
REQUIRED = ("git", "make", "cc", "c++", "gcc", "g++")
# What these and torch.compile start, and what every Linux has.
BASE = """
    as ld ar nm objcopy objdump readelf strip ldconfig openssl
    sh bash env true false test sleep kill setsid timeout nice nohup tty stty
    cat cp mv rm rmdir mkdir mktemp ls ln chmod touch dirname basename realpath readlink
    head tail tee tr cut wc sort uniq seq expr printf echo date id
    grep sed awk find xargs diff cmp tar gzip which nproc uname hostname ps
    lscpu mount umount sync stat du df python3
"""
FOLDER = "RNNBENCH_TESTS_PROGRAMS"  # the variable that names the folder of links, which all processes of a run share


def make_folder() -> None:
    """Make a folder of links to the programs of a fresh machine; it is removed at exit."""
    folder = Path(tempfile.mkdtemp(prefix="rnnbench-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in (*REQUIRED, *BASE.split()):
        program = shutil.which(name)
        if program is not None:
            (folder / name).symlink_to(program)
    os.environ[FOLDER] = str(folder)


@contextmanager
def only_those_of_a_fresh_machine() -> Iterator[None]:
    """Hide all other programs: PATH is the folder of links. Other variables stay as fixtures set them meanwhile."""
    usual = os.environ["PATH"]
    os.environ["PATH"] = os.environ[FOLDER]
    yield
    os.environ["PATH"] = usual
