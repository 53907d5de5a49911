"""CUDA graphs: forward and backward recorded once and replayed as one launch each.

torch's own recorder (`make_graphed_callables`) keeps the graph of autograd of its last warm-up call. The gradients of
parameters would then be added up on that call's stream, with a wait and a copy for each parameter in every timed call.
Here a recording keeps tensors alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State, leaves, rebuilt

Pool = tuple[int, int]  # how torch's caching allocator identifies a graph's own memory
WARM_UP_CALLS = 3  # before the recording: libraries set themselves up in the first calls


class Graphs:
    """The recorded forward of a call, and its backward if gradients are recorded, on memory that they keep."""

    def __init__(self, call: Callable[[], Sequence[Tensor]], wanted: Sequence[Tensor], pool: Pool) -> None:
        """Record `call`; `wanted`: the tensors whose gradients its backward computes."""
        cuda: Any = torch.cuda  # untyped in torch
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                outputs = call()
                _gradients(outputs, wanted, _directions(outputs))
        cuda.current_stream().wait_stream(stream)
        forward, backward = cuda.CUDAGraph(), cuda.CUDAGraph()
        self.forward: Callable[[], None] = forward.replay  # fills `outputs`
        self.backward: Callable[[], None] = backward.replay  # fills `gradients`, from `directions`
        with cuda.graph(forward, pool=pool, stream=stream):
            outputs = call()
        self.outputs = [output.detach() for output in outputs]  # not what autograd knows of them
        self.directions = _directions(outputs)  # the gradient of each output, which backward reads; None without one
        self.gradients: Sequence[Tensor | None] = ()  # of `wanted`
        if any(direction is not None for direction in self.directions):
            with cuda.graph(backward, pool=pool, stream=stream):
                self.gradients = _gradients(outputs, wanted, self.directions)


def _directions(outputs: Sequence[Tensor]) -> list[Tensor | None]:
    return [torch.zeros_like(output) if output.requires_grad else None for output in outputs]


def _gradients(
    outputs: Sequence[Tensor], wanted: Sequence[Tensor], directions: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    used = [(output, direction) for output, direction in zip(outputs, directions, strict=True) if direction is not None]
    if not used:
        return ()
    differentiated, given = zip(*used, strict=True)
    return torch.autograd.grad(differentiated, wanted, given, allow_unused=True)


class Replayed(nn.Module):
    """A recorded model; its parameters are the model's own."""

    def __init__(self, model: nn.Module, input: Tensor, state: State) -> None:
        """Record what the model does on `input` and `state` in the current autograd mode.

        Both are the graph's own memory: a call with exactly these copies nothing, and other arguments are copied into
        them first. The next call overwrites what this call returned.
        """
        super().__init__()
        handle: Any = torch.cuda.graph_pool_handle  # untyped in torch
        self.model = model
        self.pool: Pool = handle()
        self._given = (input, *leaves(state))
        final: list[State] = [None]  # its structure; the recording must not refer to this module, nor a cycle form

        def call() -> Sequence[Tensor]:
            output, final[0] = model(input, state)
            return output, *leaves(final[0])

        self.wanted = [tensor for tensor in (*self._given, *model.parameters()) if tensor.requires_grad]
        self.graphs = Graphs(call, self.wanted, self.pool)
        self._state = rebuilt(final[0], iter(self.graphs.outputs[1:]))
        final[0] = None

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Replay the model."""
        with torch.no_grad():
            for own, given in zip(self._given, (input, *leaves(state)), strict=True):
                if own.data_ptr() != given.data_ptr():
                    own.copy_(given)
        if not self.graphs.gradients:
            self.graphs.forward()
            return self.graphs.outputs[0], self._state
        output, *parts = _Replay.apply(self.graphs, *self.wanted)  # type: ignore[no-untyped-call]
        return output, rebuilt(self._state, iter(parts))


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graphs: Graphs, *wanted: Tensor) -> tuple[Tensor, ...]:
        ctx.graphs = graphs
        graphs.forward()
        return tuple(output.detach() for output in graphs.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *directions: Tensor) -> tuple[Tensor | None, ...]:
        for own, given in zip(ctx.graphs.directions, directions, strict=True):
            if own is not None and own.data_ptr() != given.data_ptr():
                own.copy_(given)
        ctx.graphs.backward()
        # Each a new tensor, which autograd may keep as a parameter's gradient without a copy.
        return None, *(None if gradient is None else gradient.detach() for gradient in ctx.graphs.gradients)
