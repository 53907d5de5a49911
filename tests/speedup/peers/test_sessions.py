"""What peers compute is what the module computes: outputs and final states, with every form of weights and states."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.adapt.contract import on_trial
from rnnbench.cells.lstm import LSTMCell
from rnnbench.speedup.agreement import PeerSession, RunSubject, why_not
from rnnbench.speedup.peers import sessions
from rnnbench.speedup.peers.comparing import PEER_ROWS, called, compiling_peers
from rnnbench.speedup.search import recognised
from rnnbench.store.metrics import Unavailable

pytestmark = pytest.mark.usefixtures("one_thread")
INPUT = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
CONVERTED = [peer for peer in PEER_ROWS if peer.packages]


class Classifier(nn.Module):
    """An LSTM and a linear layer, without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(4, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, input: Tensor) -> Tensor:
        rows: Tensor = self.head(self.layer(input)[0])
        return rows


class ByGate(nn.Module):
    """A GRU with one matrix for input and state, whose update gate says how much is new."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_size = 6
        self.gates = nn.Linear(10, 12)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        new, much = self.gates(torch.cat((x, h), 1)).chunk(2, 1)
        return torch.lerp(h, torch.tanh(new), torch.sigmoid(much))


def skip_without(*packages: str) -> None:
    """Skip a test of packages that are not installed; OpenVINO is not imported here, which would tell its makers."""
    for name in packages:
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install -e '.[peers]'")


def subject_of(module: nn.Module, input: Any) -> RunSubject:
    """A call of a module, as a search makes it."""
    run, steps, state = recognised(module, input)
    run = replace(run, module=on_trial(run.module))
    with torch.no_grad():
        begun = run.first_state(steps, state)
    return RunSubject(run, steps, begun, input if isinstance(input, tuple) else (input,), "inference")


@pytest.mark.parametrize("peer", CONVERTED, ids=lambda peer: peer.name)
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize(
    "module",
    [
        nn.LSTM(4, 6),
        nn.LSTM(4, 6, num_layers=3, bidirectional=True),
        nn.GRU(4, 6, batch_first=True, bias=False),
        nn.GRU(4, 6, num_layers=2),
        nn.RNN(4, 6, nonlinearity="relu"),
        nn.RNN(4, 6, bidirectional=True),
        nn.GRUCell(4, 6),
        LSTMCell(4, 6),
    ],
    ids=repr,
)
def test_the_operators_of_onnx_compute_what_the_module_computes(peer: Any, has_state: bool, module: Any) -> None:
    skip_without(*peer.packages)
    input = INPUT.transpose(0, 1).contiguous() if getattr(module, "batch_first", False) else INPUT
    as_layer = module if isinstance(module, nn.RNNBase) else rnnbench.unroll(module)
    with torch.inference_mode():
        state = torch.utils._pytree.tree_map(torch.randn_like, as_layer(input)[1])
        arguments = (input, state) if has_state else (input,)
        expected = as_layer(*arguments)
    subject = subject_of(module, arguments if has_state else input)
    session: PeerSession = peer.open(subject)
    subject.sessions[peer.name] = session
    assert why_not(subject, peer.name) == ""
    assert subject.errors[peer.name] < 1e-5
    with torch.inference_mode():
        for _ in range(2):  # the second call does not write into the results of the first
            results = called(subject.run, session, *arguments)
            torch.testing.assert_close(results, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "input", "reason"),
    [
        (Classifier(), INPUT, "this module runs whole sequences by code of its own"),
        (ByGate(), INPUT, "there is no such operator: ONNX has LSTM, GRU and RNN, as torch.nn computes them"),
        (nn.GRU(4, 6).double(), INPUT.double(), "it is compared in float32 alone, and this is float64"),
        (nn.LSTM(4, 6, proj_size=2), INPUT, "without a projection"),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_what_has_no_operator_of_onnx_says_so(module: nn.Module, input: Tensor, reason: str) -> None:
    from rnnbench.speedup.peers.onnx_model import recurrence_of

    subject = subject_of(module, input)
    with pytest.raises(Unavailable, match=reason):
        recurrence_of(subject.run, subject.input, subject.state)


def test_a_compiled_scan_needs_a_step_and_allow_rnn_a_layer_of_torch() -> None:
    with pytest.raises(Unavailable, match="no step to scan: this module runs whole sequences"):
        sessions.compiled_scan(subject_of(Classifier(), INPUT))
    with pytest.raises(Unavailable, match="no hand-written cell of this kind"):
        sessions.compiled_scan(subject_of(nn.RNN(4, 6, nonlinearity="relu"), INPUT))
    with pytest.raises(Unavailable, match=r"no layer of torch\.nn in it"):
        sessions.allow_rnn(subject_of(nn.GRUCell(4, 6), INPUT))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_what_torch_compiles_computes_what_the_module_computes() -> None:
    with compiling_peers():
        for module in (nn.LSTM(4, 6, bidirectional=True), nn.GRUCell(4, 6)):
            subject = subject_of(module, INPUT)
            for name, opened in (("compiled scan", sessions.compiled_scan), ("allow_rnn", sessions.allow_rnn)):
                if isinstance(module, nn.GRUCell) and name == "allow_rnn":
                    continue
                subject.sessions[name] = opened(subject)
                assert why_not(subject, name) == ""


IMPORT = """
import sys, torch
from rnnbench.speedup.peers import sessions
threads = torch.get_num_threads()
for name in ("onnx", "onnxruntime", "openvino"):
    sessions.package(name)
assert torch.get_num_threads() == threads == 2
sys.exit(any(name.startswith("openvino_telemetry") for name in sys.modules))
"""


def test_importing_the_peers_changes_no_threads_and_tells_nobody() -> None:
    skip_without("onnx", "onnxruntime", "openvino")
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
