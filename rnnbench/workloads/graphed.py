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

    def __init__(
        self,
        call: Callable[[], Sequence[Tensor]],
        wanted: Sequence[Tensor],
        pool: Pool,
        direction: Tensor | None = None,
    ) -> None:
        """Record `call`, whose first output alone is differentiated, as in the timed call.

        `wanted`: the tensors whose gradients its backward computes; `direction`: the gradient of the output from which
        it begins. Backward reads it where it lies, so a call with just this tensor copies nothing.
        """
        cuda: Any = torch.cuda  # untyped in torch
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                output = call()[0]
                if not output.requires_grad:
                    direction = None
                else:
                    direction = torch.zeros_like(output) if direction is None else direction
                    torch.autograd.grad(output, wanted, direction, allow_unused=True)
                del output  # with what autograd knows of this stream
        cuda.current_stream().wait_stream(stream)
        forward = cuda.CUDAGraph()
        backward = cuda.CUDAGraph()
        self.forward: Callable[[], None] = forward.replay  # fills `outputs`
        self.backward: Callable[[], None] = backward.replay  # fills `gradients`, from `direction`
        with cuda.graph(forward, pool=pool, stream=stream):
            outputs = call()
        self.outputs = [output.detach() for output in outputs]  # not what autograd knows of them
        self.direction = direction  # the gradient of the first output, which backward reads; None without gradients
        self.gradients: Sequence[Tensor | None] = ()  # of `wanted`
        if direction is not None:
            with cuda.graph(backward, pool=pool, stream=stream):
                self.gradients = torch.autograd.grad(outputs[0], wanted, direction, allow_unused=True)


def recorded(call: Callable[[], object], pool: Pool) -> Callable[[], None]:
    """Record a call that needs nothing of the host, such as a whole training step; returns what replays it.

    What it keeps for later calls, such as the sums of an optimizer, must be there after its first call.
    """
    cuda: Any = torch.cuda  # untyped in torch
    stream = cuda.Stream()
    stream.wait_stream(cuda.current_stream())
    with cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            call()
    cuda.current_stream().wait_stream(stream)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph, pool=pool, stream=stream):
        call()

    def replay(read_by_the_graph: object = call) -> None:  # what the call holds must live as long as the graph
        graph.replay()

    return replay


class Replayed(nn.Module):
    """A recorded model; its parameters are the model's own."""

    def __init__(self, model: nn.Module, input: Tensor, state: State, direction: Tensor | None = None) -> None:
        """Record what the model does on `input` and `state` in the current autograd mode.

        Both are the graph's own memory, and so is `direction`, the gradient of the output: a call with exactly these
        copies nothing, and other arguments are copied into them first. The next call overwrites what this call
        returned. Final states have no gradients: the timed call needs none.
        """
        super().__init__()
        handle: Any = torch.cuda.graph_pool_handle  # untyped in torch
        self.model = model
        self.pool: Pool = handle()
        self._arguments = (input, *leaves(state))
        final: list[State] = [None]  # its structure; the recording must not refer to this module, nor a cycle form

        def call() -> Sequence[Tensor]:
            output, final[0] = model(input, state)
            return output, *leaves(final[0])

        self.wanted = [tensor for tensor in (*self._arguments, *model.parameters()) if tensor.requires_grad]
        self.graphs = Graphs(call, self.wanted, self.pool, direction)
        self._state = rebuilt(final[0], iter(self.graphs.outputs[1:]))
        final[0] = None

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Replay the model."""
        with torch.no_grad():
            for recorded, argument in zip(self._arguments, (input, *leaves(state)), strict=True):
                if recorded.data_ptr() != argument.data_ptr():
                    recorded.copy_(argument)
        if not self.graphs.gradients:
            self.graphs.forward()
            return self.graphs.outputs[0], self._state
        output, *parts = _Replay.apply(self.graphs, *self.wanted)  # type: ignore[no-untyped-call]
        return output, rebuilt(self._state, iter(parts))


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graphs: Graphs, *wanted: Tensor) -> tuple[Tensor, ...]:
        ctx.graphs = graphs
        ctx.set_materialize_grads(False)  # else torch would fill zeros for the final states in each call
        graphs.forward()
        output, *states = (each.detach() for each in graphs.outputs)
        ctx.mark_non_differentiable(*states)
        return output, *states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, direction: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        recorded = ctx.graphs.direction
        if recorded.data_ptr() != direction.data_ptr():
            recorded.copy_(direction)
        ctx.graphs.backward()
        # Each a new tensor, which autograd may keep as a parameter's gradient without a copy.
        return None, *(None if gradient is None else gradient.detach() for gradient in ctx.graphs.gradients)
