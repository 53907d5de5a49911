"""A folder in which the fastest ways of a module are kept: what is in it, and whether it fits this machine.

`fastest.json` names every other file with its checksum, and says on which machine and by which torch the code was
compiled. All of that is compared before any code is loaded: code for AVX-512 ends a process on a processor without it.
This module, which each process that runs a kept module imports, needs torch and pydantic alone.
"""

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from annotated_types import MinLen

from rnnbench.errors import UserError
from rnnbench.store.stored_record import adapter
from rnnbench.text import first_few, plural

MANIFEST = "fastest.json"
WEIGHTS = "weights.pt"
TRIAL = "trial.pt"
FORMAT = 5  # of the folder
CPUINFO = Path("/proc/cpuinfo")
# Beginnings of the flags of a processor that stand for instructions which a compiler uses by itself.
CODE_FLAGS = (
    "avx", "fma", "amx", "sse", "ssse3", "f16c", "bmi", "abm", "lzcnt", "movbe", "popcnt", "adx", "aes", "vaes", "gfni",
    "vpclmul", "pclmul", "sha", "xop", "tbm", "movdir", "cx16", "lahf",
)  # fmt: skip
MOST_FLAGS = 3  # that a message names
COPY_AGAIN = "copy the folder again"
AGAIN = "save it again here: rnnbench.fastest(module, input).save(folder)"


@dataclass(frozen=True)
class Machine:
    """What compiled code depends on."""

    torch: str
    torch_commit: str
    system: str
    architecture: str
    processor: str  # its name, for messages
    flags: tuple[str, ...]  # of instructions

    @classmethod
    def here(cls) -> Self:
        """Return this machine, with the torch of this process."""
        text = CPUINFO.read_text(errors="replace").split("\n\n")[0] if CPUINFO.exists() else ""
        lines = dict(re.findall(r"^(\S[^\t:]*?)\s*: *(\S.*)$", text, re.MULTILINE))
        names = lines.get("flags", "").split()
        flags = [flag for flag in names if flag.startswith(CODE_FLAGS)] or lines.get("Features", "").split()
        return cls(
            torch=str(torch.__version__),
            torch_commit=str(torch.version.git_version),
            system=platform.system(),
            architecture=platform.machine(),
            processor=lines.get("model name") or platform.processor() or platform.machine(),
            flags=tuple(sorted(set(flags))),
        )

    def why_not(self, saved: "Machine") -> str:
        """Return why code that was compiled on another machine can't run on this one; empty if it can."""
        theirs = f"{saved.system} on {saved.architecture}"
        mine = f"{self.system} on {self.architecture}"
        if theirs != mine:
            return f"its code is for {theirs}, and this is {mine}"
        if (saved.torch, saved.torch_commit) != (self.torch, self.torch_commit):
            same = " of another build" if saved.torch == self.torch else ""
            return f"its code was compiled for torch {saved.torch}, and this is torch {self.torch}{same}"
        missing = [flag for flag in saved.flags if flag not in self.flags]
        if missing:
            return (
                f"its code was compiled on {saved.processor}, with the instructions {first_few(missing, MOST_FLAGS)}, "
                f"which this processor ({self.processor}) lacks"
            )
        return ""


TensorForm = tuple[tuple[int, ...], tuple[int, ...], str]  # shape, strides and type


@dataclass(frozen=True)
class KeptShape:
    """A shape of which a way is kept, with what was measured."""

    seq_len: int
    batch_size: int
    threads: int
    way: str
    pieces: tuple[int, ...] = ()  # the steps of each call of compiled code
    packages: Mapping[int, str] = field(default_factory=dict)  # of a piece; empty for a way that is not compiled
    seconds: float | None = None  # of a call
    ratio: float | None = None  # to the module as given
    compile_seconds: float = 0.0
    reason: str = ""  # why it is not compiled although its way is

    def __str__(self) -> str:
        """Say which sizes it is for."""
        return f"batch {self.batch_size}, length {self.seq_len}"


@dataclass(frozen=True)
class KeptWays:
    """The content of `fastest.json`."""

    machine: Machine
    module: str  # the class of the module as given
    kind: Literal["cell", "layer", "sequence"]
    features: tuple[int, ...]  # of a step of the input
    dtype: str
    state: tuple[tuple[tuple[int, ...], str], ...]  # the shape, for one sequence, and the type of each part
    needs_state: bool  # since a call without one does not begin with zeros
    is_batch_first: bool
    returns_state: bool
    tolerance: float
    shapes: Annotated[tuple[KeptShape, ...], MinLen(1)]
    takes: Mapping[str, TensorForm]  # the parameters and buffers that compiled code takes, in this order
    files: Mapping[str, str]  # name -> SHA-256
    volatile: tuple[str, ...] = ()  # buffers that are no part of a `state_dict`
    layer: Mapping[str, Any] | None = None  # the arguments of a layer of torch.nn, and its `name`
    equal_layer: Mapping[str, Any] | None = None  # that computes the same as a cell: see `rnnbench.speedup.equal_layer`
    # Rnnbench's own C: the types of products, or cells such as `lstm` -> file, and the checksum of its source
    libraries: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    rnnbench: str = ""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write `fastest.json`; raises OSError."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> KeptWays:
    """Read `fastest.json` of a folder.

    Raises UserError if it is not one of rnnbench's, is damaged, or is of another version of rnnbench.
    """
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise UserError(
            f"{folder}: {MANIFEST} can't be read; expected a folder that `fast.save(folder)` or `rnnbench fastest "
            "--save FOLDER` has written"
        ) from None
    try:
        layout = adapter(_Layout).validate_json(text)
        if layout.format != FORMAT:
            raise UserError(
                f"{folder} has the layout {layout.format}, of rnnbench {layout.rnnbench}, and this rnnbench reads the "
                f"layout {FORMAT}; {AGAIN}"
            )
        kept: KeptWays = adapter(KeptWays).validate_json(text)
    except ValueError:
        raise damaged(folder) from None
    return kept


@dataclass(frozen=True)
class _Layout:
    """What a manifest of any version says of itself."""

    format: int
    rnnbench: str


def damaged(folder: Path) -> UserError:
    """Return the error of a folder whose manifest can't be one that was written."""
    return UserError(f"{folder / MANIFEST} is damaged; {COPY_AGAIN}, or {AGAIN}")


def checksum_of(file: Path) -> str:
    """Return the SHA-256 of a file; raises OSError."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_folder(folder: Path, kept: KeptWays) -> None:
    """Raise UserError if a folder's code can't run on this machine, or a file of it is missing or damaged."""
    if reason := Machine.here().why_not(kept.machine):
        raise UserError(f"{folder}: {reason}; {AGAIN}")
    for name, checksum in kept.files.items():
        file = folder / name
        if Path(name).name != name or not file.is_file():
            raise UserError(f"{file} is missing; {COPY_AGAIN} ({plural(len(kept.files), 'file')}), or {AGAIN}")
        if checksum_of(file) != checksum:
            raise UserError(f"{file} is damaged or was changed; {COPY_AGAIN}, or {AGAIN}")
