"""How each peer runs a module: `(run, input, state) -> (outputs, state)`, in the module's own layout.

Peers have as many threads as torch, and compute in float32.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnbench.adapt.calls import can_hoist
from rnnbench.adapt.kinds import RunModule
from rnnbench.cells.states import State, leaves
from rnnbench.speedup.agreement import PeerSession, RunSubject
from rnnbench.speedup.peers.onnx_model import Recurrence, model_bytes, recurrence_of
from rnnbench.speedup.ways import ALONE, by_step, call, cell_by, has_cell, layer_by
from rnnbench.store.metrics import Unavailable
from rnnbench.workloads.implementations import SequenceOptions

Arrays = Sequence[np.ndarray]
TELEMETRY = "openvino_telemetry"
LOG_ERRORS = 3  # of ONNX Runtime's levels: no warnings


def allow_rnn(subject: RunSubject) -> PeerSession:
    """Compile the module as it is, with torch.compile's own options, its layers of torch.nn included."""
    from torch._dynamo import config

    if not hasattr(config, "allow_rnn"):
        raise Unavailable(f"torch {torch.__version__} has no setting `allow_rnn`")
    if not any(isinstance(part, nn.RNNBase) for part in subject.run.module.modules()):
        raise Unavailable("there is no layer of torch.nn in it")
    run = torch.compile(call, dynamic=False)
    begins_itself = subject.run.kind == "layer" and len(subject.args) == 1

    def session(subject_run: RunModule, input: Tensor, state: State) -> tuple[Tensor, Any]:
        begun = None if begins_itself else state
        result = run(subject_run.module, input, begun)
        return result if isinstance(result, tuple) and len(result) == 2 else (result, ALONE)

    return session


def compiled_scan(subject: RunSubject) -> PeerSession:
    """Compile one step, which torch's `scan` takes over the sequence."""
    try:
        from torch._higher_order_ops.scan import scan
    except ImportError as fault:
        raise Unavailable(f"torch {torch.__version__} has no `scan`") from fault
    if subject.run.kind == "sequence":
        raise Unavailable("there is no step to scan: this module runs whole sequences")
    if subject.run.kind == "layer" and not has_cell(subject.run.module):
        raise Unavailable("there is no hand-written cell of this kind")

    def scanned(cell: Any, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
        step = cell.advance if can_hoist(cell) else cell
        inputs = cell.project(input) if can_hoist(cell) else input

        def combine(state: State, input: Tensor) -> tuple[State, Tensor]:
            new = step(input, state)
            return new, leaves(new)[0].clone()  # two results in one memory are refused

        final, outputs = scan(combine, state, inputs, reverse=options.reverse)
        return outputs, final

    run = torch.compile(scanned, dynamic=False)
    way = layer_by(run) if subject.run.kind == "layer" else cell_by(run)

    def session(subject_run: RunModule, input: Tensor, state: State) -> tuple[Tensor, Any]:
        steps = by_step(subject_run, input)
        outputs, final = way(subject_run.module, steps, subject_run.first_state(steps, state))
        return by_step(subject_run, outputs), final

    return session


def onnxruntime(subject: RunSubject) -> PeerSession:
    """Convert a module to ONNX, for the operators of ONNX Runtime."""
    runtime: Any = package("onnxruntime")
    recurrence = recurrence_of(subject.run, subject.input, subject.state)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS
    # Else its threads go on spinning after a call, on cores where the next one is timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = runtime.InferenceSession(_model(subject, recurrence), options, providers=["CPUExecutionProvider"])
    names = ["input", *recurrence.states]

    def run(arrays: Arrays) -> Arrays:
        results: Arrays = session.run(None, dict(zip(names, arrays, strict=True)))
        return results

    return _by_arrays(subject, recurrence, run)


def openvino(subject: RunSubject) -> PeerSession:
    """Convert a module to ONNX, for the operators of OpenVINO."""
    runtime: Any = package("openvino")
    recurrence = recurrence_of(subject.run, subject.input, subject.state)
    core = runtime.Core()
    options = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it
        "ENABLE_CPU_PINNING": False,  # the core is chosen here
    }
    compiled = core.compile_model(core.read_model(_model(subject, recurrence)), "CPU", options)
    request = compiled.create_infer_request()
    count = 1 + len(recurrence.states)

    def run(arrays: Arrays) -> Arrays:
        results = request.infer(list(arrays), share_inputs=True)
        return [results[number] for number in range(count)]

    return _by_arrays(subject, recurrence, run)


def package(name: str) -> ModuleType:
    """Import a peer's package; OpenVINO's would tell its makers over the network that it was imported."""
    if name in sys.modules or TELEMETRY in sys.modules:
        return import_module(name)  # the user's own code has imported it
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # an import fails, and OpenVINO does without
    try:
        return import_module(name)
    finally:
        del sys.modules[TELEMETRY]


def _model(subject: RunSubject, recurrence: Recurrence) -> bytes:
    steps, batch = subject.batch.shape[:2]
    return model_bytes(recurrence, steps, batch)


def _by_arrays(subject: RunSubject, recurrence: Recurrence, run: Callable[[Arrays], Arrays]) -> PeerSession:
    """Return a session that runs on arrays, which are the memory of torch's tensors."""
    directions = len(recurrence.layers[0])
    sizes = (len(recurrence.layers) * directions, subject.input.shape[1], recurrence.hidden_size)
    zeros = [np.zeros(sizes, dtype=np.float32) for _ in recurrence.states]

    def session(subject_run: RunModule, input: Tensor, state: State) -> tuple[Tensor, Any]:
        steps = by_step(subject_run, input).detach().contiguous().numpy()
        begun = zeros if state is None else [part.detach().contiguous().numpy() for part in leaves(state)]
        outputs, *final = map(torch.from_numpy, run([steps, *begun]))
        return by_step(subject_run, outputs), final[0] if len(final) == 1 else tuple(final)

    return session
