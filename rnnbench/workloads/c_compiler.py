"""Build a library from a source in C with this machine's compiler."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rnnbench.store.readings import Unavailable

OPTIONS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
BUILD_SECONDS = 60.0


def build(source: Path, options: Sequence[str], file: Path) -> None:
    """Build a shared library for this processor; an existing file is replaced. Raises Unavailable."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise Unavailable("no C compiler was found (CC, cc, gcc, clang)")
    unfinished = file.with_suffix(f".{os.getpid()}")
    command = [compiler, *OPTIONS, *options, str(source), "-o", str(unfinished)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS)
        unfinished.replace(file)
    except subprocess.CalledProcessError as fault:
        lines = fault.stderr.strip().splitlines() or [f"exit code {fault.returncode}"]
        raise Unavailable(f"{compiler} can't build {source.name}: {lines[0][:200]}") from None
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unavailable(f"{compiler} can't build {source.name}: {fault}") from None
