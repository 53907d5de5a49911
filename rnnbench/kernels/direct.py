"""rnnbench's own products, in C: see `direct.c`.

For the few rows of a step they are faster than those of MKL and oneDNN on the processors where they were tried.
Compiled code calls them without Python, through symbols that the loaded library offers to the whole process.

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

from rnnbench.store.readings import Unavailable

BUILD_OPTIONS = ("-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
BUILD_SECONDS = 60.0


def build(source: Path, options: Sequence[str], file: Path) -> None:
    """Build a shared library for this processor; an existing file is replaced. Raises Unavailable."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        raise Unavailable("no C compiler was found (CC, cc, gcc, clang)")
    unfinished = file.with_suffix(f".{os.getpid()}")
    command = [compiler, *BUILD_OPTIONS, *options, str(source), "-o", str(unfinished)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS)
        unfinished.replace(file)
    except subprocess.CalledProcessError as fault:
        lines = fault.stderr.strip().splitlines() or [f"exit code {fault.returncode}"]
        raise Unavailable(f"{compiler} can't build {source.name}: {lines[0][:200]}") from None
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unavailable(f"{compiler} can't build {source.name}: {fault}") from None


CPUINFO = Path("/proc/cpuinfo")
SOURCE = Path(__file__).with_name("direct.c")
VALUES = {torch.float32: "float", torch.float64: "double"}  # a dtype's name in C
OPTIONS = ("-fopenmp",)
ARGUMENTS = {"multiply": (7, 12), "pack": (2, 4)}  # of a function in C: pointers to values, and numbers
MATRIX = 2  # dimensions
# Rows whose distance is a multiple of this many bytes compete for the same lines of the caches.
CROWDED_BYTES, LINE_BYTES = 256, 64


@dataclass(frozen=True)
class Form:
    """The shape and the strides of a tensor."""

    shape: Sequence[int]
    strides: Sequence[int]


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
        """`left right + left_2 right_2 + bias + added`, in a new tensor. `right` and `right_2` may be packed.

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
        """A call that multiplies into `result`. All matrices must lie by row, or be packed."""
        tensors = (result, left, right, bias, added, left_2, right_2)
        pointers = [None if tensor is None else tensor.data_ptr() for tensor in tensors]
        numbers = self.numbers([None if each is None else Form(each.shape, each.stride()) for each in tensors])

        def multiply(_kept: object = tensors) -> None:  # the memory must live as long as the call
            self._multiply(*pointers, *numbers)

        return multiply

    def numbers(self, forms: Sequence[Form | None]) -> list[int]:
        """What the function in C is told of the tensors that `into` takes, in its order."""
        result, left, right, _, added, left_2, right_2 = forms
        if result is None:
            raise ValueError("a product needs a result")
        told = [*result.shape, result.strides[0], 0 if added is None else added.strides[0]]
        for x, factor in ((left, right), (left_2, right_2)):
            if x is None or factor is None:
                told += [0, 0, 0, 0]
            else:
                is_packed = len(factor.shape) > MATRIX
                told += [x.shape[1], x.strides[0], factor.strides[-2], factor.strides[0] if is_packed else self.panel]
        return told

    def panels(self, inner: int, columns: int) -> tuple[int, int, int]:
        """The shape of a packed right factor."""
        return -(-columns // self.panel), inner, self.panel

    def pack(self, right: Tensor, panels: Tensor | None = None) -> Tensor:
        """Pack a right factor that is stored in any order, into `panels` if they are given."""
        if panels is None:
            panels = right.new_empty(self.panels(*right.shape))
        self._pack(panels.data_ptr(), right.data_ptr(), *right.shape, *right.stride())
        return panels


def packed_direct(x: Tensor, weight: Tensor, bias: Tensor | None) -> Callable[[], Tensor] | None:
    """A call that computes `linear(x, weight, bias)` with a weight that is packed now; None if it can't be built.

    Shapes: x (rows, input), weight (output, input), bias (output).
    """
    try:
        functions = load(x.dtype)
    except Unavailable:
        return None
    packed, outputs = functions.pack(weight.detach().t()), len(weight)
    return lambda: functions(x, packed, bias, None, outputs)


def _by_row(tensor: Tensor) -> Tensor:
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def row_stride(columns: int, dtype: torch.dtype) -> int:
    """The distance, in values, at which the rows of a right factor are read fastest where they lie."""
    is_crowded = columns * dtype.itemsize % CROWDED_BYTES == 0
    return columns + is_crowded * LINE_BYTES // dtype.itemsize


def shim(function: str, dtype: torch.dtype) -> tuple[str, str]:
    """The symbol of a function (`multiply`, `pack`) for compiled code, and its declaration in C++."""
    pointers, numbers = ARGUMENTS[function]
    # torch's compiler takes a name that begins like this as it is.
    symbol = f"aoti_torch_cpu_rnnbench_{function}_{VALUES[dtype]}"
    arguments = ", ".join(["AtenTensorHandle"] * pointers + ["int64_t"] * numbers)
    return symbol, f'extern "C" AOTITorchError {symbol}({arguments});'


_unusable: list[str] = []  # why they are not used in this process


def available() -> list[str]:
    """The types for which this machine has the functions, which are loaded."""
    return [name for dtype, name in VALUES.items() if not (_unusable or isinstance(_loaded(dtype), str))]


def give_up(reason: str) -> None:
    """Use no products of rnnbench's own in this process."""
    _unusable.append(reason)


def load(dtype: torch.dtype) -> DirectProducts:
    """The functions for a type, built where torch keeps compiled code unless they are there. Raises Unavailable."""
    loaded = _loaded(dtype)
    if _unusable or isinstance(loaded, str):
        raise Unavailable(_unusable[0] if _unusable else loaded)
    return loaded


@cache
def _loaded(dtype: torch.dtype) -> DirectProducts | str:
    """The functions, or why they can't be had."""
    if dtype not in VALUES:
        return f"rnnbench has no products of its own in {str(dtype).removeprefix('torch.')}"
    value = VALUES[dtype]
    try:
        file = _folder() / f"rnnbench-products-{value}-{_key()}.so"
        if not file.exists():
            build(SOURCE, (*OPTIONS, f"-DVALUE={value}"), file)
        # Global: torch's compiled code finds the symbols there.
        library = ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
        own = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        getattr(library, f"rnnbench_use_{value}")(own.aoti_torch_get_data_ptr)
        panel = getattr(library, f"rnnbench_panel_{value}")()
        return DirectProducts(panel, *(_function(library, name, value) for name in ARGUMENTS))
    except Unavailable as missing:
        return str(missing)
    except (OSError, AttributeError) as fault:
        return f"the built products can't be loaded: {fault}"


def _function(library: ctypes.CDLL, name: str, value: str) -> Callable[..., None]:
    function: Any
    function, (pointers, numbers) = getattr(library, f"rnnbench_{name}_{value}"), ARGUMENTS[name]
    function.argtypes, function.restype = [ctypes.c_void_p] * pointers + [ctypes.c_long] * numbers, None
    called: Callable[..., None] = function
    return called


def _folder() -> Path:
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if not named:
        from torch._inductor.runtime.cache_dir_utils import cache_dir  # takes a second to import

        named = cache_dir()
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _key() -> str:
    """What the built code depends on: its source, how it is built, torch's OpenMP, and the processor."""
    parts = (SOURCE.read_text(), *OPTIONS, *BUILD_OPTIONS, torch.__version__, _processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """The processor's model and instruction sets: code is built for them, and the folder may be shared."""
    if not CPUINFO.exists():
        return platform.processor()
    first, *_ = CPUINFO.read_text(errors="replace").split("\n\n")
    kept = ("model name", "CPU part", "flags", "Features")
    return "\n".join(line for line in first.splitlines() if line.split(":")[0].strip() in kept)
