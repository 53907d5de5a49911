"""rnnbench's own products, in C: see `direct.c`.

For up to 64 rows they took 0.2 to 1.2 times the time of MKL. Compiled code calls
them without Python, through symbols that the loaded library offers to the whole process.

Shapes: left (rows, inner), right (inner, columns), bias (columns), `added` and result (rows, columns); panels (panels,
inner, columns of a panel).
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnbench.kernels.trusted import trusted_folder
from rnnbench.store.metrics import Unavailable

BUILD_OPTIONS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
CPUINFO = Path("/proc/cpuinfo")
SOURCE = Path(__file__).with_name("direct.c")
VALUES = {torch.float32: "float", torch.float64: "double"}  # a dtype's name in C
OPTIONS = ("-fopenmp",)
ARGUMENTS = {"multiply": (7, 12), "pack": (2, 4)}  # of a function in C: pointers to values, and numbers
# Rows whose distance is a multiple of this many bytes compete for the same lines of the caches.
CROWDED_BYTES = 256
LINE_BYTES = 64
Form = tuple[Sequence[int], Sequence[int]]  # the shape and the strides of a tensor


def build(source: Path, options: Sequence[str], file: Path) -> None:
    """Build a shared library for this processor; an existing file is replaced. Raises Unavailable."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise Unavailable("no C compiler was found (CC, cc, gcc, clang)")
    unfinished = file.with_suffix(f".{os.getpid()}")
    command = [compiler, *BUILD_OPTIONS, *options, str(source), "-o", str(unfinished)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=60.0)
        unfinished.chmod(0o755)  # whatever the umask is: what others can write is not loaded
        unfinished.replace(file)
    except (OSError, subprocess.SubprocessError) as fault:
        lines = str(getattr(fault, "stderr", None) or fault).strip().splitlines()
        raise Unavailable(f"{compiler} can't build {source.name}: {lines[0][:200]}") from None


@dataclass(frozen=True)
class DirectProducts:
    """The functions for one type. Tensors must be on the CPU and of that type."""

    panel: int  # columns of a panel
    _multiply: Callable[..., None]
    _pack: Callable[..., None]

    def __call__(
        self,
        left: Tensor,
        right: Tensor,
        bias: Tensor | None,
        added: Tensor | None,
        columns: int,
        left_2: Tensor | None = None,
        right_2: Tensor | None = None,
    ) -> Tensor:
        """Return `left right + left_2 right_2 + bias + added`, in a new tensor. `right` and `right_2` may be packed.

        A matrix that does not lie by row is copied.
        """
        result = left.new_empty(left.shape[0], columns)
        others = (None if each is None else _by_row(each) for each in (bias, added, left_2, right_2))
        self.into(result, _by_row(left), _by_row(right), *others)()
        return result

    def into(
        self,
        result: Tensor,
        left: Tensor,
        right: Tensor,
        bias: Tensor | None = None,
        added: Tensor | None = None,
        left_2: Tensor | None = None,
        right_2: Tensor | None = None,
    ) -> Callable[[], None]:
        """Return a call that multiplies into `result`. All matrices must lie by row, or be packed."""
        tensors = (result, left, right, bias, added, left_2, right_2)
        pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        numbers = self.numbers([None if each is None else (each.shape, each.stride()) for each in tensors])

        def multiply(_kept: object = tensors) -> None:  # the memory must live as long as the call
            self._multiply(*pointers, *numbers)

        return multiply

    def numbers(self, forms: Sequence[Form | None]) -> list[int]:
        """Return what the function in C is told of the tensors that `into` takes, in its order."""
        result, left, right, _, added, left_2, right_2 = forms
        assert result is not None
        numbers = [*result[0], result[1][0], 0 if added is None else added[1][0]]
        for x, factor in ((left, right), (left_2, right_2)):
            if x is None or factor is None:
                numbers += [0, 0, 0, 0]
            else:
                is_packed = len(factor[0]) > 2  # dimensions
                numbers += [x[0][1], x[1][0], factor[1][-2], factor[1][0] if is_packed else self.panel]
        return numbers

    def panels(self, inner: int, columns: int) -> tuple[int, int, int]:
        """Return the shape of a packed right factor."""
        return -(-columns // self.panel), inner, self.panel

    def pack(self, right: Tensor, panels: Tensor | None = None) -> Tensor:
        """Pack a right factor that is stored in any order, into `panels` if they are given."""
        if panels is None:
            panels = right.new_empty(self.panels(*right.shape))
        self._pack(panels.data_ptr(), right.data_ptr(), *right.shape, *right.stride())
        return panels


def _by_row(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def row_stride(columns: int, dtype: torch.dtype) -> int:
    """Return the distance, in values, at which the rows of a right factor are read fastest where they lie."""
    is_crowded = columns * dtype.itemsize % CROWDED_BYTES == 0
    return columns + is_crowded * LINE_BYTES // dtype.itemsize


def available() -> list[str]:
    """Return the types for which this machine has the functions, which are loaded."""
    return [name for dtype, name in VALUES.items() if not isinstance(_loaded(dtype), str)]


def build_key(source: Path, options: Sequence[str], *others: str) -> str:
    """Return a part of a built file's name that is another one for another source, options or processor.

    `others`: what the file depends on, too.
    """
    # Code is built for a processor's instruction sets, and machines may share the folder.
    lines = CPUINFO.read_text(errors="replace").split("\n\n")[0].splitlines() if CPUINFO.exists() else []
    processor = [
        line for line in lines if line.split(":")[0].strip() in ("model name", "CPU part", "flags", "Features")
    ]
    parts = (_text(source), *options, *BUILD_OPTIONS, *others, platform.processor(), *processor)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def load(dtype: torch.dtype) -> DirectProducts:
    """Return the functions for a type, built into the user's cache unless they are there.

    If another user can have written there, they are built in a folder of this process. Raises Unavailable.
    """
    loaded = _loaded(dtype)
    if isinstance(loaded, str):
        raise Unavailable(loaded)
    return loaded


def library_file(dtype: torch.dtype) -> Path:
    """Return where the functions for a type are, or will be once they are built."""
    key = build_key(SOURCE, OPTIONS, torch.__version__)  # it is built with torch's OpenMP
    name = f"rnnbench-products-{VALUES[dtype]}-{key}.so"
    return trusted_folder(name) / name


def source_key(source: Path = SOURCE) -> str:
    """Return a checksum of a source in C: code that was compiled for other functions must not call these."""
    return hashlib.sha256(_text(source).encode()).hexdigest()


def _text(source: Path) -> str:
    """Return a source in C, and all headers beside it, which it may include."""
    return "\n".join(file.read_text() for file in (source, *sorted(source.parent.glob("*.h"))))


def open_library(file: Path, value: str) -> ctypes.CDLL:
    """Load the functions for a type, by its name in C, so that compiled code finds them. Raises OSError."""
    # Global: torch's compiled code finds the symbols there.
    library = ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    torchs = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    getattr(library, f"rnnbench_use_{value}")(torchs.aoti_torch_get_data_ptr)
    return library


@cache
def _loaded(dtype: torch.dtype) -> DirectProducts | str:
    """Return the functions, or why they can't be had."""
    if dtype not in VALUES:
        return f"rnnbench has no products of its own in {str(dtype).removeprefix('torch.')}"
    value = VALUES[dtype]
    functions = []
    try:
        file = library_file(dtype)
        if not file.exists():
            build(SOURCE, (*OPTIONS, f"-DVALUE={value}"), file)
        library = open_library(file, value)
        for name, (pointers, numbers) in ARGUMENTS.items():
            function: Any = getattr(library, f"rnnbench_{name}_{value}")
            function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_long] * numbers
            function.restype = None
            functions.append(function)
        return DirectProducts(getattr(library, f"rnnbench_panel_{value}")(), *functions)
    except (Unavailable, OSError, AttributeError) as fault:  # it can't be built, or not be loaded
        return str(fault)
