"""torch's process-wide settings, put back before every case, whatever the case before it did to them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

_backends: Any = torch.backends  # partly untyped in torch

CUDNN_FLAGS = ("enabled", "benchmark", "deterministic")


def _set_onednn(enabled: bool) -> None:
    _backends.mkldnn.enabled = enabled


def _read_cudnn() -> tuple[bool, ...]:
    return tuple(getattr(_backends.cudnn, name) for name in CUDNN_FLAGS)


def _set_cudnn(flags: tuple[bool, ...]) -> None:
    for name, flag in zip(CUDNN_FLAGS, flags, strict=True):
        setattr(_backends.cudnn, name, flag)


def _set_cudnn_tf32(allowed: bool) -> None:
    _backends.cudnn.allow_tf32 = allowed


# name -> how to read it, how to set it
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "float32 matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "oneDNN": (lambda: _backends.mkldnn.enabled, _set_onednn),
    "cuDNN": (_read_cudnn, _set_cudnn),
    "cuDNN TF32": (lambda: _backends.cudnn.allow_tf32, _set_cudnn_tf32),
}

State = dict[str, Any]


def capture() -> State:
    """The settings as they are, but for those that torch refuses to tell."""
    state = {}
    for name, (read, _) in SETTINGS.items():
        with suppress(RuntimeError):  # TF32 by its old names, once it was set by torch's newer ones (`fp32_precision`)
            state[name] = read()
    return state


def restore(wanted: State) -> None:
    """Put the settings back; those that are as wanted are left alone, since setting some of them costs time."""
    for name, value in wanted.items():
        read, write = SETTINGS[name]
        try:
            is_wanted = read() == value
        except RuntimeError:  # set by torch's newer names since: writing by the old one sets both
            is_wanted = False
        if not is_wanted:
            write(value)


def tf32_allowed(state: State) -> tuple[bool | None, bool | None]:
    """Whether float32 may be TF32 on a GPU, in cuDNN's layers and in matrix products; None where torch did not tell."""
    precision = state.get("float32 matmul precision")
    return state.get("cuDNN TF32"), precision and precision != "highest"
