"""torch's global state, restored around every case.

`SETTINGS` is the only list of what a cell could leave changed for other cells. To add a setting: a line that says how
to read and how to set the value, and a line in `tests/harness/machine/test_torch_state.py` that changes it as a cell
would. Names that a version of torch does not have are left out.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch.nn.modules import module as _module
from torch.optim import optimizer as _optimizer
from torch.utils import _python_dispatch

from rnnbench.harness.machine.global_settings import Setting, attribute, put_back, read

_backends: Any = torch.backends  # partly untyped in torch
_autograd: Any = torch.autograd
_overrides: Any = torch.overrides
_c: Any = torch._C

CUDNN_FLAGS = ("enabled", "benchmark", "deterministic")
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


def _read_cudnn() -> tuple[bool, ...]:
    return tuple(getattr(_backends.cudnn, name) for name in CUDNN_FLAGS)


def _set_cudnn(flags: tuple[bool, ...]) -> None:
    for name, flag in zip(CUDNN_FLAGS, flags, strict=True):
        setattr(_backends.cudnn, name, flag)


# Since 2.9 torch has a precision for each backend and operator, `torch.backends.fp32_precision` and others below it.
# The older names set some of these, and torch refuses to read them while the newer ones say something else.
HAS_PRECISIONS = hasattr(_c, "_get_fp32_precision_getter")
PRODUCTS, LAYERS = (("cuda", "matmul"), ("mkldnn", "matmul")), (("cuda", "conv"), ("cuda", "rnn"))
OTHERS = (("generic", "all"), ("cuda", "all"), ("mkldnn", "all"), ("mkldnn", "conv"), ("mkldnn", "rnn"))
OF_PRODUCTS = {("none", "none"): "highest", ("tf32", "tf32"): "high", ("tf32", "bf16"): "medium"}
OF_LAYERS = {("none", "none"): False, ("tf32", "tf32"): True}


def _precisions(
    names: tuple[tuple[str, str], ...], old: Mapping[Any, Any] = MappingProxyType({}), set_old: Any = None
) -> Setting:
    """The precision of float32 in some operators: what the older name calls it, or a precision for each."""

    def read() -> Any:
        found = tuple(_c._get_fp32_precision_getter(*name).replace("ieee", "none") for name in names)
        return old.get(found, found)

    def write(value: Any) -> None:
        if not isinstance(value, tuple):
            set_old(value)
            return
        for name, precision in zip(names, value, strict=True):
            _c._set_fp32_precision_setter(*name, precision)

    return Setting(read, write)


def _set_layers(value: bool) -> None:
    _backends.cudnn.allow_tf32 = value


def _default_device() -> str | None:
    """The device of `torch.set_default_device`; None if it was never called: even "cpu" slows every call."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else str(context.device)


def _anomaly_mode() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _is_deterministic(value: bool) -> None:
    torch.use_deterministic_algorithms(value, warn_only=torch.is_deterministic_algorithms_warn_only_enabled())


def _warns_only(value: bool) -> None:
    torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled(), warn_only=value)


def _stop_profiler(_: bool) -> None:
    _c._autograd._disable_profiler()


def _saved_tensor_hooks() -> object:
    """The innermost pair of default hooks for tensors that autograd saves; None if there is none."""
    return _c._autograd._top_saved_tensors_default_hooks(True)


def _pop_saved_tensor_hooks(_: object) -> None:
    while _saved_tensor_hooks() is not None:
        _c._autograd._pop_saved_tensors_default_hooks()


def _function_modes() -> tuple[object, ...]:
    return tuple(_overrides._get_current_function_mode_stack())


def _dispatch_modes() -> tuple[object, ...]:
    return tuple(_python_dispatch._get_current_dispatch_mode_stack())


def _set_modes(stack: Any, read_modes: Callable[[], tuple[object, ...]]) -> Callable[[Iterable[object]], None]:
    """A function that sets a stack of modes; `stack` is the module that holds it."""

    def write(wanted: Iterable[object]) -> None:
        while read_modes():
            stack._pop_mode()
        for mode in wanted:
            stack._push_mode(mode)

    return write


def _hooks_of(*modules: ModuleType) -> Setting:
    """The global hooks of modules or optimizers: every name in these files that begins with `_global_`."""
    names = [(module, name) for module in modules for name in vars(module) if name.startswith("_global_")]

    def read() -> tuple[Any, ...]:
        values = (getattr(module, name) for module, name in names)
        return tuple(tuple(value.items()) if isinstance(value, dict) else value for value in values)

    def write(wanted: tuple[Any, ...]) -> None:
        for (module, name), value in zip(names, wanted, strict=True):
            held = getattr(module, name)
            if isinstance(held, dict):
                held.clear()
                held.update(value)
            else:
                setattr(module, name, value)

    return Setting(read, write)


def _autocast(device: str) -> Setting:
    def read() -> tuple[Any, ...]:
        return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device), torch.is_autocast_cache_enabled()

    def write(wanted: tuple[Any, ...]) -> None:
        torch.set_autocast_enabled(device, wanted[0])
        torch.set_autocast_dtype(device, wanted[1])
        torch.set_autocast_cache_enabled(wanted[2])

    return Setting(read, write)


def _fixed(read: Callable[[], Any]) -> Setting:
    """A value that can be read but not restored."""
    return Setting(read, lambda value: None)


def _compiler_stance() -> str:
    """The stance set by `torch.compiler.set_stance`; reading it does not import the compiler."""
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    return "default" if frames is None else str(frames._stance.stance)


TINY = sys.float_info.min


def _flushes_denormals() -> bool:
    return TINY / 2.0 == 0.0


SETTINGS: dict[str, Setting] = {
    # First, since torch passes many of the calls that set the others to a mode.
    "function modes": Setting(_function_modes, _set_modes(_overrides, _function_modes)),
    "dispatch modes": Setting(_dispatch_modes, _set_modes(_python_dispatch, _dispatch_modes)),
    "threads": Setting(torch.get_num_threads, torch.set_num_threads),
    "inter-op threads": _fixed(torch.get_num_interop_threads),
    "default dtype": Setting(torch.get_default_dtype, torch.set_default_dtype),
    "default device": Setting(_default_device, torch.set_default_device),
    "grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "inference mode": _fixed(torch.is_inference_mode_enabled),
    "anomaly mode": Setting(_anomaly_mode, lambda value: torch.set_anomaly_enabled(*value)),
    "autograd's threads": Setting(_autograd.is_multithreading_enabled, _c._set_multithreading_enabled),
    "profiler": Setting(_c._autograd._profiler_enabled, _stop_profiler),
    "saved tensor hooks": Setting(_saved_tensor_hooks, _pop_saved_tensor_hooks),
    "deterministic algorithms": Setting(torch.are_deterministic_algorithms_enabled, _is_deterministic),
    "deterministic warnings": Setting(torch.is_deterministic_algorithms_warn_only_enabled, _warns_only),
    "filling of uninitialized memory": attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
    "flushing of denormals": Setting(_flushes_denormals, torch.set_flush_denormal),
    **({"float32 precision": _precisions(OTHERS)} if HAS_PRECISIONS else {}),  # first: some of the others follow it
    "float32 matmul precision": _precisions(PRODUCTS, OF_PRODUCTS, torch.set_float32_matmul_precision)
    if HAS_PRECISIONS
    else Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "oneDNN": attribute(_backends.mkldnn, "enabled"),
    "oneDNN determinism": attribute(_backends.mkldnn, "deterministic"),
    "NNPACK": Setting(_c._get_nnpack_enabled, _c._set_nnpack_enabled),
    "multi-head attention's fast path": Setting(_backends.mha.get_fastpath_enabled, _backends.mha.set_fastpath_enabled),
    "opt_einsum": attribute(_backends.opt_einsum, "enabled"),
    "quantized engine": attribute(_backends.quantized, "engine"),
    "cuDNN": Setting(_read_cudnn, _set_cudnn),
    "cuDNN TF32": _precisions(LAYERS, OF_LAYERS, _set_layers)
    if HAS_PRECISIONS
    else attribute(_backends.cudnn, "allow_tf32"),
    "cuDNN benchmark limit": attribute(_backends.cudnn, "benchmark_limit"),
    "cuBLAS float16 sums": attribute(_backends.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    "cuBLAS bfloat16 sums": attribute(_backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    "autocast on the CPU": _autocast("cpu"),
    "autocast on CUDA": _autocast("cuda"),
    "TorchScript's optimizer": Setting(_c._get_graph_executor_optimize, _c._set_graph_executor_optimize),
    "global module hooks": _hooks_of(_module),
    "global optimizer hooks": _hooks_of(_optimizer),
    "compiler stance": Setting(_compiler_stance, torch.compiler.set_stance),
}

TorchState = dict[str, Any]


def capture() -> TorchState:
    """The current settings, without those that torch refuses to report."""
    return read(SETTINGS)


def restore(wanted: Mapping[str, Any]) -> None:
    """Restore the settings; raises NotRestoredError if one does not change back."""
    put_back(SETTINGS, wanted)


def tf32_allowed(state: TorchState) -> tuple[bool | None, bool | None]:
    """Whether a GPU may use TF32 for float32, in cuDNN's layers and in matrix products; None where unknown."""
    layers, precision = state.get("cuDNN TF32"), state.get("float32 matmul precision")
    return None if layers is None else bool(layers), precision and precision != "highest"
