"""A timed call moves nothing between host and device, and waits for nothing, on a device that only knows shapes.

`meta` tensors stand for those of a GPU: an operator that is given tensors of both kinds would copy on a GPU, and one
that needs a value (`item`, a mask as an index) raises.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    Case,
    Reference,
)
from rnnbench.workloads import graphed, implementations, phases
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

DEVICE = "meta"
SIZES: dict[str, dict[str, Any]] = {  # three steps: a first, a last, and one between them
    "many_to_many": {"seq_len": 3},
    "many_to_one": {"seq_len": 3},
    "one_to_one": {"seq_len": 1},
    "one_to_many": {"input_size": 2, "seq_len": 3},
    "encoder_decoder": {"seq_len": 3, "output_len": 3},
}
CELLS: dict[str, Reference] = {"combined": "rnn", "lstm": "lstm", "gru": "gru"}
HOWS: tuple[Implementation, ...] = ("loop", "hoisted", "transposed", "compiled", "cudagraph")
LAYERS: tuple[Implementation, ...] = ("torch.nn", "torch.nn-padded")
KINDS: list[dict[str, Any]] = [
    {"num_layers": 2, "dropout": 0.5},
    {"lengths": "varied"},
    {"lengths": "varied", "bidirectional": True, "num_layers": 2},
]


class Watch(TorchDispatchMode):
    """Records each operator that involves the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        given = {tensor.device.type for tensor in tensors if not is_number(tensor)}
        made = {value.device.type for value in tree_leaves(result) if isinstance(value, Tensor)}
        if len(given) > 1 or (given and made - given) or (not tensors and made == {"cpu"}):
            self.found.append(f"{function}: {sorted(given)} -> {sorted(made)}")
        return result


def is_number(tensor: Tensor) -> bool:
    """Return True for a tensor that a kernel takes by value; Adam counts its steps in one."""
    return tensor.dim() == 0 and tensor.device.type == "cpu"


class Unrecorded(graphed.Replayed):
    """The program that a recording would replay."""

    def __init__(self, model: nn.Module, input: Tensor, state: Any, direction: Tensor | None = None) -> None:
        nn.Module.__init__(self)
        self.model, self.pool = model, (0, 1)
        self.graphs: Any = SimpleNamespace(direction=direction)

    def forward(self, input: Tensor, state: Any) -> Any:
        """Call the model."""
        return self.model(input, state)


@pytest.fixture(autouse=True)
def _on_meta(monkeypatch: pytest.MonkeyPatch, not_compiled: None) -> None:
    """Replace what the meta device can't do, beside compiling: random directions and recordings."""
    monkeypatch.setattr(implementations, "GRAPHED_ON", DEVICE)
    monkeypatch.setattr(graphed, "Replayed", Unrecorded)
    monkeypatch.setattr(
        phases, "fixed_direction", lambda input, shape: torch.empty(shape, device=DEVICE, dtype=input.dtype)
    )


def watched(timed: TimedCall) -> list[str]:
    """The operators of the second call that involve the host; the first call may set up what later ones use."""
    watch = Watch()
    with timed.mode():
        timed.call()
        with watch:
            timed.call()
    return watch.found


def cases(task: Any, phase: Any) -> Iterator[Case]:
    for kind in KINDS:
        for cell, reference in CELLS.items():
            # Other tasks run the cells in the same loops.
            if cell != "gru" and task != "many_to_many":
                continue
            axes = SIZES[task] | kind | {"reference": reference, "task": task, "phase": phase}
            work = small.workload(device=DEVICE, dtype="float32", **axes)
            for implementation in HOWS:
                yield Case(cell, implementation, work)
            for implementation in LAYERS:
                # A packed layer is left out: its copies are torch's own.
                if implementation == "torch.nn-padded" or work.lengths == "equal":
                    yield Case(f"torch.nn.{reference.upper()}", implementation, work)


@pytest.mark.parametrize(
    ("task", "phase"),
    # A step is training and more; the other tasks differ by what lies around the loops, which training has forward too.
    [("many_to_many", "inference"), ("many_to_many", "step"), *((task, "training") for task in [*SIZES][1:])],
)
def test_no_timed_call_has_to_do_with_the_host(task: str, phase: str) -> None:
    copies_by_case: dict[str, list[str]] = {}
    timed = 0
    for case in cases(task, phase):
        try:
            built = build(case, Path(), 2)
        except Skip:
            continue
        timed += 1
        if copies := watched(built.timed_call()):
            copies_by_case[case.key] = copies
    assert timed >= 4
    assert not copies_by_case


def test_an_epoch_copies_each_batch_to_the_device_and_nothing_else() -> None:
    axes: dict[str, Any] = {"phase": "epoch", "samples": 7, "batch_size": 3, "device": DEVICE, "dtype": "float32"}
    copies = [copy for copy in watched(build(small.case("lstm", **axes), Path()).timed_call()) if "meta" in copy]
    assert copies == ["aten._to_copy.default: ['cpu'] -> ['meta']"] * 2 * 3
