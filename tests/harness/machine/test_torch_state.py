"""torch's global settings, which a case may change."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.nn.modules import module
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rnnbench.harness import devices
from rnnbench.harness.machine import torch_state
from rnnbench.harness.machine.global_settings import NotRestoredError, Setting
from rnnbench.store.records import DType


class Function(TorchFunctionMode):
    """A mode that refuses every torch function."""


class Dispatch(TorchDispatchMode):
    """A mode that refuses every operator."""


def set_flag(holder: Any, name: str) -> Callable[[], object]:
    """Invert a flag."""
    return lambda: setattr(holder, name, not getattr(holder, name))


def start_profiler() -> None:
    profiler = torch.profiler.profile()
    profiler.start()
    HELD.append(profiler)  # keeps it alive, as a cell may do


def push_hooks() -> None:
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
    hooks.__enter__()
    HELD.append(hooks)


def enter(mode: Any) -> None:
    mode.__enter__()
    HELD.append(mode)


def other_engine() -> str:
    engines = BACKENDS.quantized.supported_engines
    return next(str(engine) for engine in engines if engine not in ("none", BACKENDS.quantized.engine))


HELD: list[object] = []
BACKENDS: Any = torch.backends
# setting -> how a cell changes it for all later cases
CHANGES: dict[str, Callable[[], object]] = {
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("cpu"),
    "grad mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "autograd's threads": lambda: torch.autograd.set_multithreading_enabled(False),
    "profiler": start_profiler,
    "saved tensor hooks": push_hooks,
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "deterministic warnings": lambda: torch.use_deterministic_algorithms(False, warn_only=True),
    "filling of uninitialized memory": set_flag(torch.utils.deterministic, "fill_uninitialized_memory"),
    "flushing of denormals": lambda: torch.set_flush_denormal(True),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "oneDNN": set_flag(BACKENDS.mkldnn, "enabled"),
    "oneDNN determinism": set_flag(BACKENDS.mkldnn, "deterministic"),
    "NNPACK": lambda: BACKENDS.nnpack.set_flags(False),
    "multi-head attention's fast path": lambda: BACKENDS.mha.set_fastpath_enabled(False),
    "opt_einsum": lambda: None,  # can't be set if it is not installed
    "quantized engine": lambda: setattr(BACKENDS.quantized, "engine", other_engine()),
    "cuDNN": set_flag(BACKENDS.cudnn, "deterministic"),
    "cuDNN TF32": set_flag(BACKENDS.cudnn, "allow_tf32"),
    "cuDNN benchmark limit": lambda: None,  # can't be set without cuDNN
    "cuBLAS float16 sums": set_flag(BACKENDS.cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    "cuBLAS bfloat16 sums": set_flag(BACKENDS.cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    "autocast on the CPU": lambda: torch.set_autocast_enabled("cpu", True),
    "autocast on CUDA": lambda: torch.set_autocast_enabled("cuda", True),
    "TorchScript's optimizer": lambda: torch._C._set_graph_executor_optimize(False),
    "global module hooks": lambda: module.register_module_forward_hook(lambda *_: None),
    "global optimizer hooks": lambda: optimizer.register_optimizer_step_pre_hook(lambda *_: None),
    "function modes": lambda: enter(Function()),
    "dispatch modes": lambda: enter(Dispatch()),
    "compiler stance": lambda: torch.compiler.set_stance("force_eager"),
}
NEWER_NAMES = hasattr(torch._C, "_get_fp32_precision_getter")
if NEWER_NAMES:
    CHANGES["float32 precision"] = lambda: setattr(torch.backends, "fp32_precision", "tf32")
ONLY_READ = {"inter-op threads", "inference mode"}
NOT_HERE = {"opt_einsum", "cuDNN benchmark limit"}


@pytest.fixture
def saved_state() -> Iterator[torch_state.TorchState]:
    before = torch_state.capture()
    yield before
    torch_state.restore(before)
    HELD.clear()


def test_each_setting_has_a_test_of_how_a_cell_changes_it() -> None:
    assert CHANGES.keys() | ONLY_READ == torch_state.SETTINGS.keys()


@pytest.mark.filterwarnings("ignore:set_default_dtype|Anomaly Detection")
@pytest.mark.parametrize("name", CHANGES)
def test_what_a_cell_changes_of_torchs_global_state_is_put_back(name: str, saved_state: torch_state.TorchState) -> None:
    CHANGES[name]()
    changed = torch_state.capture()
    assert (changed[name] == saved_state[name]) == (name in NOT_HERE)
    torch_state.restore(saved_state)
    assert torch_state.capture() == saved_state


def test_several_changes_at_once_are_put_back(saved_state: torch_state.TorchState) -> None:
    torch.set_default_device("cpu")
    enter(Function())
    enter(Dispatch())
    push_hooks()
    push_hooks()
    torch_state.restore(saved_state)
    assert torch_state.capture() == saved_state
    assert torch.ones(2).device.type == "cpu"


def test_a_change_that_can_not_be_undone_is_named(saved_state: torch_state.TorchState) -> None:
    with torch.inference_mode(), pytest.raises(NotRestoredError, match="inference mode"):
        torch_state.restore(saved_state)


@pytest.mark.parametrize(
    ("dtype", "precision", "tf32"),
    [("float32", "highest", False), ("tf32", "high", True), ("bfloat16", "highest", False)],
)
def test_tf32_is_on_or_off_in_products_and_in_cudnn_alike(dtype: DType, precision: str, tf32: bool) -> None:
    before = torch_state.capture()
    try:
        torch_state.restore(before | devices.backend("cuda:1").settings(dtype))
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 == tf32
        assert torch_state.capture()["cuDNN"] == before["cuDNN"]
    finally:
        torch_state.restore(before)
    assert torch_state.capture() == before


def test_a_setting_that_torch_refuses_to_tell_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("mix of the legacy and new APIs")

    assert torch_state.tf32_allowed(torch_state.capture()) == (torch.backends.cudnn.allow_tf32, False)
    monkeypatch.setitem(torch_state.SETTINGS, "cuDNN TF32", Setting(refuse, refuse))
    state = torch_state.capture()
    torch_state.restore(state)
    assert "threads" in state
    assert torch_state.tf32_allowed(state) == (None, False)


@pytest.mark.skipif(not NEWER_NAMES, reason="torch before 2.9")
@pytest.mark.parametrize(
    "holder", [torch.backends, BACKENDS.cudnn, BACKENDS.cudnn.rnn, BACKENDS.cuda.matmul, BACKENDS.mkldnn]
)
@pytest.mark.parametrize("dtype", ["float32", "tf32"])
def test_what_a_case_has_set_by_torchs_newer_names_is_put_back(
    holder: Any, dtype: DType, saved_state: torch_state.TorchState
) -> None:
    torch_state.restore(saved_state | devices.backend("cuda").settings(dtype))
    wanted = torch_state.capture()
    holder.fp32_precision = "ieee" if dtype == "tf32" else "tf32"
    torch_state.restore(saved_state | devices.backend("cuda").settings(dtype))
    assert torch_state.capture() == wanted
