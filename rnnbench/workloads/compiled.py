"""`torch.compile` of a whole sequence, or of pieces of it where it is long, and what the compiling costs.

There are two ways: `compiled` leaves each product to the library that torch calls, and `prepacked` has it made there or
in rnnbench's own code, whichever is faster on this machine.
"""

import math
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rnnbench.cells.states import State, leaves, rebuilt
from rnnbench.kernels.trusted import compiler_folder
from rnnbench.store.implementations import ROW_OF, WITH_OWN_LIBRARY, Implementation
from rnnbench.store.metrics import Readings
from rnnbench.text import message_of
from rnnbench.workloads.implementations import FeedBack, Run, SequenceOptions, Skip
from rnnbench.workloads.phases import TimedCall

# Options of Inductor on a processor: C++ that calls its kernels without Python in between,
# compiled apart from them and with less effort (a third less time to compile, at most 2% more in a call), and tanh from
# one exponential, as in oneDNN's own layers, which saves an eighth of the time of an LSTM of hidden size 256. torch's
# checks of its own strides are off.
COMPILER_OPTIONS: dict[str, Any] = {
    "cpp_wrapper": True,
    "cpp_wrapper_build_separate": True,
    "cpp.use_decompose_tanh": True,
    "size_asserts": False,
}
# The same for packages, whose C++ is called without Python by itself.
PACKAGE_OPTIONS = {name: value for name, value in COMPILER_OPTIONS.items() if not name.startswith("cpp_wrapper")}
PASSES = "post_grad_custom_pre_pass"  # other options; torch 2.8 lacks the second
PARTITIONER = "custom_partitioner_fn"
COMPILER_REMEDY = (
    "install a C++ compiler with Python's headers (on a GPU also CUDA's headers and Triton), set TMPDIR to a folder "
    "without spaces that is not mounted `noexec`"
)
DAMAGED = re.compile(r"(/\S+\.so): (?:file too short|invalid ELF header)")
MAX_GRAPHS = 10_000  # of one function, over all cases of a process; torch's default limit is 8
_products: Counter[str] = Counter()  # products by library


def in_pieces(steps: int, run: Run) -> Run:
    """Return `run`, which is compiled, over pieces of at most `steps` steps."""

    def run_pieces(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
        sizes = pieces_of(len(input), steps)
        if len(sizes) == 1:
            return run(cell, input, state, options)
        return _one_after_the_other(run, sizes, cell, input, state, options)

    return run_pieces


def pieces_of(steps: int, most: int) -> list[int]:
    """Return the steps of each of the pieces, of at most so many steps and about equal, that a sequence is run in."""
    if steps <= most:
        return [steps]
    size = math.ceil(steps / math.ceil(steps / most))
    return [min(size, steps - first) for first in range(0, steps, size)]


def _one_after_the_other(
    run: Run, sizes: list[int], cell: nn.Module, input: Tensor, state: State, options: SequenceOptions
) -> tuple[Tensor, State]:
    """Run pieces of these numbers of steps."""
    inputs = torch.split(input, sizes)
    masks = [None] * len(inputs) if options.mask is None else torch.split(options.mask, sizes)
    order = range(len(inputs))
    outputs: dict[int, Tensor] = {}
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in cell.parameters()):
        # States between pieces need a gradient; if the first does, too, all pieces share one compiled graph.
        state = rebuilt(state, map(_needing_gradient, leaves(state)))
    for piece in reversed(order) if options.reverse else order:
        of_piece = SequenceOptions(options.stacked, options.reverse, masks[piece])
        outputs[piece], state = run(cell, inputs[piece], state, of_piece)
    return torch.cat([outputs[piece] for piece in order]), state


def _needing_gradient(part: Tensor) -> Tensor:
    can_need = part.is_floating_point() or part.is_complex()
    return part.detach().requires_grad_() if can_need and not part.requires_grad else part


def feed_back_in_pieces(max_steps: int, run: FeedBack) -> FeedBack:
    """Return `run`, a compiled `feed_back`, over pieces of at most `max_steps` steps."""

    def run_pieces(body: Any, head: nn.Module, fed: Tensor, state: State, steps: int) -> tuple[Tensor, State]:
        outputs = []
        while steps:
            piece = min(steps, max_steps)
            output, state = run(body, head, fed, state, piece)
            outputs.append(output)
            fed = output[-1]
            steps = steps - piece
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state

    return run_pieces


def check(device: str) -> None:
    """Raise Skip if torch.compile does not work on a device."""
    if reason := why_not(device):
        raise Skip(reason)


@cache
def why_not(device: str) -> str:
    """Return why torch.compile does not work on a device; empty if it does.

    The only sure test is to compile a tiny function: depending on the device, this needs a C++ compiler, the headers of
    Python and CUDA, and Triton. It also pays for the compiler's own start, which belongs to no case.
    """
    folder, reason = compiler_folder()
    if reason:
        return (
            f"torch would load compiled code from {folder}, but {reason}; set TORCHINDUCTOR_CACHE_DIR to a folder of "
            "your own"
        )
    try:
        with torch.inference_mode():
            is_compiled = bool(compiled(_one_if_compiled, "compiled")(torch.zeros(16, device=device)).all())
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        traceback.print_exc()
        lines = [line.strip() for line in message_of(error).splitlines() if line.strip()] or [type(error).__name__]
        telling = next((line for line in lines if "error: " in line), lines[0])[:200].rstrip(".;")
        if damaged := DAMAGED.search(telling):  # whoever wrote it was killed
            return f"torch.compile can't load {damaged[1]} from its cache, which is damaged: remove this file"
        return (
            f"torch.compile does not work on {device}: {telling}; {COMPILER_REMEDY}, or leave the implementations "
            "`compiled` and `prepacked` out"
        )
    if not is_compiled:  # torch only calls the function, without a word
        return "torch.compile is switched off: unset TORCH_COMPILE_DISABLE and TORCHDYNAMO_DISABLE"
    return ""


def cost(timed: TimedCall) -> Readings:
    """Measure `compile_seconds` and `graph_breaks` of a call that has not been made yet, by making it twice.

    Call `check` before: the compiler's own start belongs to no case.
    """
    from torch._dynamo.utils import counters

    counters.clear()
    _products.clear()
    with timed.mode():
        start = perf_counter()
        timed.call()
        first = perf_counter()
        timed.call()
        end = perf_counter()
    values: dict[str, Any] = {"graph_breaks": sum(counters["graph_break"].values())}
    # Not by cache hits: a later piece of a sequence may find the graph of the first one.
    if not counters["inductor"]["fxgraph_cache_miss"] + counters["aot_autograd"]["autograd_cache_miss"]:
        return Readings(values, {"compile_seconds": "not compiled anew: torch found it in its cache"})
    return Readings(values | {"compile_seconds": (first - start) - (end - first)})


def forget() -> None:
    """Drop everything that was compiled in this process."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def libraries() -> str:
    """Return the libraries of the products of `prepacked` code compiled since `cost` began, in words; empty if none."""
    return ", ".join(sorted(_products, key=lambda library: -_products[library]))


def compiled(function: Callable[..., Any], implementation: Implementation, mode: str = "") -> Callable[..., Any]:
    """Return a function, compiled anew for each shape, in one of the two ways or in a mode of torch.compile.

    The next call of a CUDA graph, as the modes make them, writes into the results of the last one: these are copied.
    """
    from torch._dynamo import config

    from rnnbench.kernels.routing import LoopPasses

    limits: Any = config
    limits.recompile_limit = limits.accumulated_recompile_limit = MAX_GRAPHS
    if mode := mode or ROW_OF[implementation].mode:
        run = torch.compile(function, dynamic=False, mode=mode)
        return lambda *arguments: tree_map_only(Tensor, Tensor.clone, run(*arguments))
    passes = LoopPasses(_products if implementation in WITH_OWN_LIBRARY else None)
    return torch.compile(function, dynamic=False, backend=inductor(passes))


def inductor(passes: Any) -> Callable[..., Any]:
    """Return torch.compile's own backend: with options and passes for a processor there, and as torch has it elsewhere.

    C++ around kernels of CUDA needs its headers and libcuda, which a torch that pip installed does not bring.
    """
    on_cpu = {**COMPILER_OPTIONS, PASSES: passes}
    if PARTITIONER in torch._inductor.list_options():
        from rnnbench.kernels.saved_tensors import StackedSavedTensors

        on_cpu[PARTITIONER] = StackedSavedTensors()

    def compile_graph(graph: Any, inputs: list[Any]) -> Any:
        from torch._inductor.compile_fx import compile_fx

        tensors = [part for part in inputs if isinstance(part, Tensor)]
        is_on_cpu = all(part.is_cpu for part in tensors)
        return compile_fx(graph, inputs, config_patches=on_cpu if is_on_cpu else None)

    return compile_graph


def _one_if_compiled(input: Tensor) -> Tensor:
    return input + int(torch.compiler.is_compiling())
