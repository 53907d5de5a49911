"""The recurrence of a program: its products by weight, which of them depend on each other, and the number of steps."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor

from rnnbench.cells.states import BATCHED
from rnnbench.harness.profiling.invariants import ValueNumbers
from rnnbench.harness.profiling.program import Program, ProgramCall, depending_on_earlier, made_from
from rnnbench.harness.profiling.remedies import product_of

CELLS = ("rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell")  # one step of torch's own cells
LAYER_OPERATORS = ("rnn_tanh", "rnn_relu", "lstm", "gru")  # all steps of torch's own layers
FIRST_WEIGHT = 2  # index among the arguments of a cell


def products(calls: Sequence[ProgramCall]) -> Iterator[ProgramCall]:
    """Products of rows with a weight."""
    for call in calls:
        index = product_of(call.name)
        if index is None or call.kwargs.get("out") is not None or not isinstance(call.result, Tensor):
            continue
        if len(call.args) > index + 1:
            yield call


def by_weight(program: Program) -> list[list[ProgramCall]]:
    """Groups of products with one weight, which may be computed again for each of them."""
    groups: dict[Any, list[ProgramCall]] = defaultdict(list)
    numbers = ValueNumbers(program.calls)
    for call in products(program.calls):
        rest = [arg for index, arg in enumerate(call.args) if index != product_of(call.name)]
        groups[call.name, numbers.key(rest), numbers.key(list(call.kwargs.values()))].append(call)
    return list(groups.values())


def recurrent_groups(program: Program, groups: Iterable[list[ProgramCall]]) -> list[list[ProgramCall]]:
    """The groups of which a call depends on an earlier one."""
    return [group for group in groups if len(group) > 1 and any(depending_on_earlier(program, group))]


def steps_of(program: Program) -> int:
    """Steps of the sequence: the most products, or cells of torch, with one weight that depend on each other."""
    numbers = ValueNumbers(program.calls)
    cells: dict[Any, list[ProgramCall]] = defaultdict(list)
    layers: dict[Any, int] = defaultdict(int)
    for call in program.calls:
        if call.name in CELLS:
            cells[call.name, numbers.key(call.args[FIRST_WEIGHT:])].append(call)
        elif call.name in LAYER_OPERATORS:
            weights = [arg for arg in call.args if isinstance(arg, list | tuple)][-1]
            layers[call.name, numbers.key(weights)] += _length(call.args)
    chains = [len(group) for group in recurrent_groups(program, [*by_weight(program), *cells.values()])]
    return max([*chains, *layers.values()], default=1)


def depend(program: Program, calls: Sequence[ProgramCall], sources: Sequence[ProgramCall]) -> bool:
    """Whether an argument of one of `calls` is made of the result of one of `sources`."""
    targets = {call.ordinal for call in calls}
    return any(call.ordinal in targets for call in made_from(program, sources))


def input_of(call: ProgramCall) -> Tensor:
    """The rows of a product."""
    tensor: Tensor = call.args[product_of(call.name) or 0]
    return tensor


def weight_args(call: ProgramCall) -> list[Any]:
    """The other arguments of a product."""
    at = product_of(call.name) or 0
    return [call.name, *(arg for index, arg in enumerate(call.args) if index != at), *call.kwargs.values()]


def tensor_key(value: Any) -> Any:
    """What is equal for two views of one part of a storage."""
    return (value.data_ptr(), value.shape, value.stride()) if isinstance(value, Tensor) else repr(value)


def _length(args: Sequence[Any]) -> int:
    """Steps of a call of a layer: `(input, hx, weights, ..., batch_first)`, or `(data, batch_sizes, hx, ...)`."""
    if isinstance(args[1], Tensor) and not args[1].is_floating_point():
        return len(args[1])
    is_batch_first = args[-1] is True and args[0].dim() == BATCHED
    return int(args[0].shape[1 if is_batch_first else 0])
