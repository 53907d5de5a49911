"""Causes found from the calls of a program; nothing is timed here."""

import linecache
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.cells.combined import CombinedCell
from rnnbench.profiling.causes import invariants, suspects
from rnnbench.profiling.program import MAX_PROGRAM_CALLS, NotFollowed, Program, ProgramCall, record
from rnnbench.profiling.replay import replay
from rnnbench.store.profiles import Cause
from tests.validation.planted_causes import FAULTS, Clean, OneProduct, pair

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 6
INPUT = torch.randn(STEPS, 2, 3)


def causes_of(run: Callable[[], Any], *, trained: bool = False) -> list[Cause]:
    return list(suspects(program(run, trained=trained), trained=trained))


def program(run: Callable[[], Any], *, trained: bool = False) -> Program:
    def call() -> Any:
        output = run()
        return output.sum().backward() if trained else output

    with torch.enable_grad() if trained else torch.inference_mode():
        return record(call)


def loop(step: Callable[[Tensor, Tensor], Tensor], size: int = 5) -> Callable[[], Tensor]:
    def run() -> Tensor:
        h, outputs = torch.zeros(2, size), []
        for x in INPUT:
            h = step(x, h)
            outputs.append(h)
        return torch.stack(outputs)

    return run


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_alone_is_suspected_and_leaving_it_out_gives_the_same_output(kind: str, trained: bool) -> None:
    modules = pair(kind, 3, 5)
    faulty = modules["faulty"]
    recording = program(lambda: faulty(INPUT), trained=trained)
    ((cause, remedied),) = suspects(recording, trained=trained).items()
    assert cause.kind == kind
    assert "planted_causes.py:" in cause.what
    assert cause.calls == STEPS * (4 if kind == "small products" else 1)
    with torch.enable_grad() if trained else torch.inference_mode():
        torch.testing.assert_close(
            replay(remedied())(), modules["clean"](INPUT).sum() if trained else modules["clean"](INPUT)
        )


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("module", [Clean, OneProduct])
def test_a_module_without_faults_is_not_suspected(module: type[Clean], trained: bool) -> None:
    clean = module(3, 5)
    assert not causes_of(lambda: clean(INPUT), trained=trained)


@pytest.mark.parametrize("cell", [nn.RNNCell(3, 5), nn.GRUCell(3, 5), CombinedCell(3, 5)])
def test_steps_are_counted_by_the_cell_that_follows_from_itself(cell: nn.Module) -> None:
    assert program(loop(cell)).steps == STEPS


W_X, W_H = torch.randn(5, 3), torch.randn(5, 5)
SCALE = nn.Parameter(torch.ones(5))


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        (lambda x, h: torch.tanh(torch.cat([x, h], 1) @ torch.cat([W_X, W_H], 1).t().contiguous()), 2 * STEPS),
        (lambda x, h: torch.tanh(x @ W_X.t() + (h.double() @ W_H.double()).float()), STEPS),
        (lambda x, h: torch.tanh(x @ W_X.t() + h @ W_H.contiguous().exp()), STEPS),  # `contiguous` returns its argument
    ],
)
def test_a_value_that_is_computed_again_in_every_step_is_found_and_computed_once(step: Any, calls: int) -> None:
    recording = program(loop(step))
    found = {cause.kind: (cause, remedied) for cause, remedied in suspects(recording, trained=False).items()}
    cause, remedied = found["loop invariant"]
    assert cause.calls == calls
    replayed = program(replay(remedied()))
    assert sum(len(group) for group in invariants(replayed)) == 0
    torch.testing.assert_close(replayed.returned, loop(step)())


@pytest.mark.parametrize(
    "step",
    [
        lambda x, h: torch.tanh(h @ W_H + torch.rand(2, 5)),
        lambda x, h: torch.tanh(h @ W_H.mul_(1.0).exp()),
        lambda x, h: torch.tanh(h @ W_H + torch.zeros(2, 5).add_(h)),
    ],
    ids=["random", "written into", "filled later"],
)
def test_what_only_looks_the_same_in_every_step_is_no_invariant(step: Any) -> None:
    assert not any(cause.kind == "loop invariant" for cause in causes_of(loop(step)))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("step", [nn.GRUCell(3, 5), lambda x, h: torch.tanh(h @ W_H) * SCALE])
def test_a_product_that_only_reads_outputs_is_one_of_the_output_and_not_of_the_input(step: Any, trained: bool) -> None:
    torch.manual_seed(0)
    mean, deviation = nn.Linear(5, 2), nn.Linear(5, 2)

    def run() -> Tensor:
        h, outputs = torch.ones(2, 5), []
        for x in INPUT:
            h = step(x, h)
            outputs += [mean(h), deviation(h)]  # of one line, which would have one name
        return torch.stack(outputs)

    recording = program(run, trained=trained)
    ((cause, remedied),) = suspects(recording, trained=trained).items()
    assert (cause.kind, cause.calls) == ("output product", 2 * STEPS)
    with torch.enable_grad() if trained else torch.inference_mode():
        torch.testing.assert_close(replay(remedied())(), run().sum() if trained else run())


def test_small_products_with_biases_by_name_are_made_one() -> None:
    torch.manual_seed(0)
    w_i, w_f, b_i, b_f = torch.randn(5, 5), torch.randn(5, 5), torch.randn(5), torch.randn(5)

    def step(x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(nn.functional.linear(h, w_i, bias=b_i)) * nn.functional.linear(h, w_f, bias=b_f)

    recording = program(loop(step))
    ((cause, remedied),) = suspects(recording, trained=False).items()
    assert (cause.kind, cause.calls) == ("small products", 2 * STEPS)
    torch.testing.assert_close(replay(remedied())(), loop(step)())


def kept(x: Tensor, h: Tensor) -> Tensor:
    h = torch.tanh(h)
    before = h.clone()  # needed, since something is written into its source
    h.add_(1.0)
    return h * before


def wasteful(x: Tensor, h: Tensor) -> Tensor:
    torch.exp(h)
    return torch.tanh(h)


def reading(x: Tensor, h: Tensor) -> Tensor:
    float(torch.exp(h).sum())  # goes with the value that needs it
    return torch.tanh(h)


def masked(x: Tensor, h: Tensor) -> Tensor:
    mask = h > 0
    return torch.tanh(h) * mask.clone() * ~mask  # `__invert__` writes into nothing


@pytest.mark.parametrize(
    ("step", "found"),
    [
        (lambda x, h: torch.tanh(x @ W_X.t() + h @ W_H.t()), [("not hoisted", STEPS)]),  # one weight in every step
        (kept, []),
        (masked, [("copy", STEPS)]),
        (lambda x, h: torch.tanh(h + 0), [("copy", STEPS)]),
        (wasteful, [("unused", STEPS)]),
        (reading, [("synchronisation", STEPS)]),
        (CombinedCell(3, 5), [("concatenation", STEPS)]),
    ],
)
def test_what_a_line_makes_in_every_step_is_told(step: Any, found: list[tuple[str, int]]) -> None:
    assert [(cause.kind, cause.calls) for cause in causes_of(loop(step))] == found


def test_what_gradients_flow_through_is_no_suspect() -> None:
    below, w_x = nn.Parameter(torch.randn(STEPS, 2, 3)), nn.Parameter(torch.randn(5, 3))
    assert not causes_of(loop(CombinedCell(3, 5)), trained=True)
    assert not causes_of(lambda: torch.stack([nn.functional.linear(x, w_x) for x in below.tanh()]), trained=True)


def test_a_program_without_end_is_not_held_in_memory() -> None:
    tensor = torch.zeros(1)

    def run() -> Tensor:
        for _ in range(MAX_PROGRAM_CALLS + 1):
            tensor.dim()
        return tensor

    with pytest.raises(NotFollowed):
        record(run)


class OnGpu(Tensor):
    """A tensor that says it is on a GPU."""

    is_cpu = False


def on_gpu(*values: float) -> Tensor:
    return torch.tensor(values).as_subclass(OnGpu)


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "result", "waits"),
    [
        (Tensor.cpu, (on_gpu(1.0),), {}, torch.ones(1), True),
        (Tensor.to, (on_gpu(1.0), "cpu"), {}, torch.ones(1), True),
        (Tensor.to, (on_gpu(1.0), "cpu"), {"non_blocking": True}, torch.ones(1), False),
        (Tensor.nonzero, (on_gpu(1.0),), {}, on_gpu(0.0), True),
        (Tensor.__getitem__, (on_gpu(1.0), on_gpu(1.0) > 0), {}, on_gpu(1.0), True),
        (Tensor.__getitem__, (on_gpu(1.0), 0), {}, on_gpu(1.0), False),
        (Tensor.to, (on_gpu(1.0), torch.float64), {}, on_gpu(1.0), False),
        (Tensor.nonzero, (torch.ones(1),), {}, torch.zeros(1), False),
        (Tensor.cpu, (torch.ones(1),), {}, torch.ones(1), False),
        (Tensor.item, (on_gpu(1.0),), {}, 1.0, True),
    ],
)
def test_a_copy_to_the_host_or_a_size_that_is_not_known_before_makes_python_wait(
    function: Any, args: Any, kwargs: Any, result: Any, waits: bool
) -> None:
    calls = [ProgramCall(number, function, args, kwargs, result, "cell.py:3") for number in range(2)]
    found = suspects(Program(tuple(calls), None, frozenset()), trained=False)
    assert ("synchronisation" in [cause.kind for cause in found]) == waits


CODE = "import torch\n\ndef step(x, w):\n    return torch.tanh(x @ w)  # a step\n"


@pytest.mark.parametrize("file", ["/anywhere/ipykernel_123/4567.py", "<ipython-input-3-0123456789ab>"])
def test_a_line_of_a_notebooks_cell_is_quoted(file: str) -> None:
    linecache.cache[file] = len(CODE), None, CODE.splitlines(keepends=True), file  # as IPython does
    cell: dict[str, Any] = {}
    exec(compile(CODE, file, "exec"), cell)
    x, w = torch.randn(2, 3), torch.randn(3, 3)
    program = record(lambda: cell["step"](x, w))
    assert {call.where for call in program.calls} == {"`return torch.tanh(x @ w)  # a step`:4"}
