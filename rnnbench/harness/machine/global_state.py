"""Global state of torch and of the process that a cell may change for all later code, and how it is put back.

`TORCH` and `PROCESS` list what honest cells change. To add a setting: a line that says how to read and how to set it,
and a line in `tests/harness/machine/test_global_state.py` that changes it as a cell would.
"""

import gc
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import torch

from rnnbench.cells import CellError

_backends: Any = torch.backends  # partly untyped in torch
_c: Any = torch._C
# Since 2.9 torch has a precision for each backend and operator, `torch.backends.fp32_precision` and others below it.
# The older names set some of these, and torch tells of them what it was told last, or refuses while the newer ones say
# something else. So what an older name says is read by the newer ones.
HAS_PRECISIONS = hasattr(_c, "_get_fp32_precision_getter")
NEWER_NAMES = "Please use the new API settings to control TF32"  # what torch 2.9 and 2.10 warn of at an older name
PRODUCT_PRECISIONS = (("cuda", "matmul"), ("mkldnn", "matmul"))
LAYER_PRECISIONS = (("cuda", "conv"), ("cuda", "rnn"))
OTHER_PRECISIONS = (("generic", "all"), ("cuda", "all"), ("mkldnn", "all"), ("mkldnn", "conv"), ("mkldnn", "rnn"))
OF_PRODUCTS = {("none", "none"): "highest", ("tf32", "tf32"): "high", ("tf32", "bf16"): "medium"}
OF_LAYERS = {("none", "none"): False, ("tf32", "tf32"): True}
# What the suite's axis `dtype` decides, whatever a case's own code sets: with less precision it would do other work.
OF_THE_SUITE = ("float32 precision", "float32 matmul precision", "cuDNN TF32")
# The part of torch's state that a reader of a run must know; the other settings keep torch's defaults.
DESCRIBED = (
    "default dtype",
    "grad mode",
    "deterministic algorithms",
    "float32 matmul precision",
    "oneDNN",
    "cuDNN",
    "cuDNN TF32",
)
CORES = "allowed cores"  # the coordinator chooses them again for each visit
# What code changes for itself when it is imported. The others would disturb a worker.
OF_THE_CODE = ("recursion limit", "warning filters", "current folder", "environment variables")


class Setting(NamedTuple):
    """How to read and set one value of global state. If setting it has no effect, the case that changed it fails."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _attributes(holder: Any, *names: str) -> Setting:
    """Return the setting that attributes of an object hold together: a value, or a tuple of several."""

    def write(value: Any) -> None:
        for name, one in zip(names, value if len(names) > 1 else (value,), strict=True):
            setattr(holder, name, one)

    return Setting(partial(attrgetter(*names), holder), write)


def _precisions(names: tuple[tuple[str, str], ...], older: Mapping[Any, Any], old: Setting | None = None) -> Setting:
    """Return the precision of float32 in some operators: what the older name calls it, or a tuple of one for each."""
    if old is not None and not HAS_PRECISIONS:
        return old

    def read() -> Any:
        precisions = tuple(_c._get_fp32_precision_getter(*name).replace("ieee", "none") for name in names)
        return older.get(precisions, precisions)

    def write(value: Any) -> None:
        if old is not None and not isinstance(value, tuple):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", NEWER_NAMES)
                old.write(value)
            return
        for name, precision in zip(names, value, strict=True):
            _c._set_fp32_precision_setter(*name, precision)

    return Setting(read, write)


def _default_device() -> str | None:
    """Return the device of `torch.set_default_device`; None if it was never called: even "cpu" slows every call."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else str(context.device)


TORCH: dict[str, Setting] = {
    "threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "default device": Setting(_default_device, torch.set_default_device),
    "grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly mode": Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda value: torch.set_anomaly_enabled(*value),
    ),
    "deterministic algorithms": Setting(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "flushing of denormals": Setting(lambda: sys.float_info.min / 2.0 == 0.0, torch.set_flush_denormal),
    **(
        {"float32 precision": _precisions(OTHER_PRECISIONS, {})} if HAS_PRECISIONS else {}
    ),  # some of the next ones follow it
    "float32 matmul precision": _precisions(
        PRODUCT_PRECISIONS,
        OF_PRODUCTS,
        Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ),
    "oneDNN": _attributes(_backends.mkldnn, "enabled"),
    "cuDNN": _attributes(_backends.cudnn, "enabled", "benchmark", "deterministic"),
    "cuDNN TF32": _precisions(LAYER_PRECISIONS, OF_LAYERS, _attributes(_backends.cudnn, "allow_tf32")),
    "cuBLAS float16 sums": _attributes(_backends.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    "cuBLAS bfloat16 sums": _attributes(_backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
}


def _set_filters(wanted: list[Any]) -> None:
    warnings.resetwarnings()
    warnings.filters.extend(wanted)  # type: ignore[attr-defined]


def _set_environment(wanted: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(wanted)


PROCESS: dict[str, Setting] = {
    "garbage collection": Setting(gc.isenabled, lambda value: gc.enable() if value else gc.disable()),
    "garbage collection thresholds": Setting(gc.get_threshold, lambda value: gc.set_threshold(*value)),
    "recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "warning filters": Setting(lambda: list(warnings.filters), _set_filters),
    "current folder": Setting(os.getcwd, os.chdir),
    "environment variables": Setting(lambda: dict(os.environ), _set_environment),
}
if hasattr(os, "sched_setaffinity"):
    PROCESS[CORES] = Setting(lambda: os.sched_getaffinity(0), partial(os.sched_setaffinity, 0))


def capture(settings: Mapping[str, Setting] = TORCH) -> dict[str, Any]:
    """Return the current values of the settings."""
    return {name: setting.read() for name, setting in settings.items()}


def restore(wanted: Mapping[str, Any], settings: Mapping[str, Setting] = TORCH) -> None:
    """Set the settings that differ, and no others, as setting some costs time. Raises CellError for one that stays."""
    for name, value in wanted.items():
        setting = settings[name]
        if setting.read() != value:
            with suppress(Exception):  # torch, or a mode that the case left on, may refuse
                setting.write(value)
            if setting.read() != value:
                raise CellError(f"the call changes {name}, which rnnbench can't restore; restore it within the call")


def tf32_allowed() -> tuple[bool, bool]:
    """Return True if a GPU may use TF32 for float32, in cuDNN's layers and in products."""
    return bool(TORCH["cuDNN TF32"].read()), TORCH["float32 matmul precision"].read() != "highest"
