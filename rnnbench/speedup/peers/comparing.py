"""What else runs a recurrent layer: torch.compile with `allow_rnn`, a compiled scan, ONNX Runtime, OpenVINO.

Peers are compared with the ways in inference on a processor, and never handed back. They are tried when the fastest way
is known, in what is left of the budget, so no choice depends on them. To add one: a name in `PeerName`
(`speedup/ways.py`) and a row of `PEER_ROWS`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from rnnbench.adapt.kinds import RunModule, why_only_as_given
from rnnbench.analysis.estimate import as_ratio, estimate_columns
from rnnbench.cells.states import State
from rnnbench.harness import devices
from rnnbench.harness.live.live_cases import LiveCase, keep_process, keep_tensors, timed_call
from rnnbench.harness.live.loop import Fastest, LiveTurns, named
from rnnbench.harness.live.quiet_core import quiet_core
from rnnbench.harness.turns.schedule import Progress
from rnnbench.speedup.agreement import PeerSession, RunSubject, varies, why_not
from rnnbench.speedup.compiling import Compiler, Place, Refusal
from rnnbench.speedup.peers import sessions
from rnnbench.speedup.run_in_ways import RunInWays
from rnnbench.speedup.shapes import SHAPE
from rnnbench.speedup.ways import ALONE, AS_GIVEN, PeerName, by_step, ways_table
from rnnbench.store.metrics import Unavailable
from rnnbench.text import as_budget, ending, listed
from rnnbench.workloads.phases import TimedCall

EXTRA = "peers"  # of pyproject.toml
PEER_ROUNDS = 10  # replicates of their times
CLOCK_SECONDS = 4.0  # of what is left of the budget, for the clock; half of it if less is left
LEAST_PEER_SECONDS = 2.0  # in less no peer is tried
BY_SHAPE = "it is compiled for each new shape in the call"
CONSTANT = "its weights are constants, and it has no gradient"


@dataclass(frozen=True)
class Peer:
    """Another way to run a recurrent layer."""

    name: PeerName
    open: Callable[[RunSubject], PeerSession]  # converts a module; raises Unavailable with the reason if it can't
    why_only_compared: str
    packages: tuple[str, ...] = ()  # that it needs beside rnnbench's own
    is_compiled: bool = False  # by torch.compile, in its first call


PEER_ROWS = (
    Peer("onnxruntime", sessions.onnxruntime, CONSTANT, packages=("onnx", "onnxruntime")),
    Peer("openvino", sessions.openvino, CONSTANT, packages=("onnx", "openvino")),
    Peer("allow_rnn", sessions.allow_rnn, BY_SHAPE, is_compiled=True),
    Peer("compiled scan", sessions.compiled_scan, BY_SHAPE, is_compiled=True),
)  # those that are converted in less than a second first


class PeerTurns(Fastest):
    """So many replicates of all calls: nothing is chosen."""

    def wanted(self) -> tuple[Sequence[str], int]:
        """Return all names, and how many replicates are to come."""
        return [*self.times], PEER_ROUNDS - len(self.times[AS_GIVEN])

    def leave_out_slower(self) -> None:
        """Leave out nothing."""


@dataclass(frozen=True)
class PeerBudget:
    """The time for the peers at one shape."""

    deadline: float  # by `time.monotonic`
    seconds: float  # of the user's budget, for all shapes
    shapes: int

    def spent(self) -> Refusal:
        """Return that no time is left, if so."""
        if self.deadline - time.monotonic() >= LEAST_PEER_SECONDS:
            return Refusal()
        more = as_budget(2 * self.seconds)
        return Refusal(f"the search for the fastest way took the budget; give budget='{more}'", is_untried=True)


def peer_rows(
    subject: RunSubject,
    ways: Sequence[Mapping[str, Any]],
    budget: PeerBudget,
    on_progress: Callable[[Progress], None],
) -> list[dict[str, Any]]:
    """Return a row for each peer at a shape; none in training, on other devices, and where only plain calls work.

    `ways`: the rows of the ways at this shape. Everything that is changed in this process is restored.
    """
    run = subject.run
    if subject.phase != "inference" or not subject.input.is_cpu or why_only_as_given(run.module, run.kind):
        return []
    with ExitStack() as put_back:
        keep_process(put_back)
        keep_tensors(run.module, put_back)  # of one that can't be copied
        if varies(subject):
            return []
        put_back.enter_context(compiling_peers())
        refusals = _refusals(subject, budget, on_progress)
        rows: dict[str, dict[str, Any]] = {
            name: {
                **{part: ways[0][part] for part in SHAPE},
                "way": name,
                "is_chosen": False,
                "reason": refusal.reason,
                "error": subject.errors.get(name, math.nan),
                "compile_seconds": refusal.compile_seconds,
            }
            for name, refusal in refusals.items()
        }
        peers = [peer for peer in PEER_ROWS if not refusals[peer.name].reason]
        if peers:
            calls = _calls(subject, ways, peers, put_back)
            for peer in peers:
                rows[peer.name]["reason"] = f"only compared: {peer.why_only_compared}"
            for name, columns in _times(calls, subject, budget, on_progress).items():
                if name in rows:
                    rows[name] |= columns
    return [*rows.values()]


def compiling_peers() -> AbstractContextManager[object]:
    """Let torch.compile look into layers of torch.nn, and count the steps of a scan, as far as this torch can."""
    from torch._dynamo import config

    settings = [name for name in ("allow_rnn", "capture_scalar_outputs") if hasattr(config, name)]
    patch: AbstractContextManager[object] = config.patch(dict.fromkeys(settings, True))
    return patch


def _refusals(
    subject: RunSubject, budget: PeerBudget, on_progress: Callable[[Progress], None]
) -> dict[PeerName, Refusal]:
    """Open all peers and compare what they compute; returns for each why it is not timed, if it is not."""
    seconds = budget.deadline - time.monotonic()
    compiler = Compiler(
        partial(why_not, subject),
        subject.operators,
        Place(str(subject.input.device), subject.phase),
        deadline=budget.deadline - min(CLOCK_SECONDS, seconds / 2),
        budget_seconds=budget.seconds,
        shapes=budget.shapes,
        on_progress=on_progress,
    )
    refusals = {}
    for peer in PEER_ROWS:
        missing = [package for package in peer.packages if find_spec(package) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            how = f"pip install {' '.join(missing)}, or the extra `{EXTRA}` of rnnbench"
            refusals[peer.name] = Refusal(f"{listed(missing)} {verb} not installed: {how}")
        elif (spent := budget.spent()).reason:
            refusals[peer.name] = spent
        else:
            refusals[peer.name] = _opened(peer, subject, compiler)
    return refusals


def _opened(peer: Peer, subject: RunSubject, compiler: Compiler) -> Refusal:
    """Convert or compile a module for a peer, and compare what it computes."""
    try:
        for name in peer.packages:
            sessions.package(name)
        begun = time.monotonic()
        subject.sessions[peer.name] = peer.open(subject)
    except Unavailable as reason:
        return Refusal(str(reason))
    except (Exception, SystemExit) as fault:  # whatever another project's code raises
        return Refusal(ending(fault, peer.name))
    if peer.is_compiled:
        return compiler.refusal(peer.name)
    seconds = time.monotonic() - begun
    return Refusal(why_not(subject, peer.name), compile_seconds=seconds)


def _calls(
    subject: RunSubject, ways: Sequence[Mapping[str, Any]], peers: Sequence[Peer], put_back: ExitStack
) -> dict[str, TimedCall]:
    """Return the calls that take turns: the module as given, in the way that was chosen, and by each peer."""
    shape = {part: ways[0][part] for part in SHAPE}
    chosen = next(row["way"] for row in ways if row["is_chosen"])
    runs: dict[str, Callable[..., object]] = {
        name: RunInWays(subject.run, ways_table([{**shape, "way": name}])) for name in (AS_GIVEN, chosen)
    }
    runs |= {peer.name: partial(called, subject.run, subject.sessions[peer.name]) for peer in peers}
    calls = {}
    for name, run in runs.items():
        with named(name):
            calls[name] = timed_call(LiveCase(name, run, subject.args), subject.phase, put_back)
    return calls


def called(run: RunModule, session: PeerSession, input: Tensor, state: State = None) -> Any:
    """Call a module by a peer, as the user calls the module."""

    def steps(module: Any, batch: Tensor, begun: State) -> tuple[Tensor, State]:
        outputs, final = session(run, by_step(run, batch), begun)
        return by_step(run, outputs), final

    if run.kind == "cell":
        outputs, final = run.run_steps(steps, by_step(run, input), state)
        return by_step(run, outputs), final
    outputs, final = session(run, input, state)
    return outputs if final is ALONE else (outputs, final)


def _times(
    calls: Mapping[str, TimedCall],
    subject: RunSubject,
    budget: PeerBudget,
    on_progress: Callable[[Progress], None],
) -> dict[str, dict[str, Any]]:
    """Time calls interleaved; returns the columns of each. If one of them fails, they say so and have no times."""
    device = str(subject.input.device)
    stop = PeerTurns([*calls])
    turns = LiveTurns(devices.open_device(device), calls, quiet_core(device, torch.get_num_threads()))
    try:
        turns.until(stop, budget.deadline, on_progress)
    except Exception as fault:  # whatever a later call raises
        return {name: {"reason": f"the peers could not be timed: {fault}"} for name in calls}
    if turns.interrupted:
        raise KeyboardInterrupt
    columns = {}
    for name, times in stop.times.items():
        figures = stop.told(name, AS_GIVEN)
        columns[name] = {
            "seconds": figures.seconds,
            **estimate_columns("ratio", as_ratio(figures.log_ratio)),
            "state": figures.state,
            "replicates": len(times),
        }
    return columns
