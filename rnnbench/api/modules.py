"""Functions of `import rnnbench` that make modules comparable."""

from typing import TypeVar

from torch import nn

from rnnbench.api import for_users
from rnnbench.cells.weights import copy_weights
from rnnbench.speedup.run_in_ways import Unrolled
from rnnbench.workloads.model import Headed

Mine = TypeVar("Mine", bound=nn.Module)


@for_users
def unroll(cell: nn.Module, *, batch_first: bool = False) -> Unrolled:
    """Run a cell over a sequence, called as torch.nn's layers are.

        layer = rnnbench.unroll(MyCell(64, 128))
        outputs, state = layer(torch.randn(32, 8, 64))

    A step costs what it costs in a loop written by hand. A call takes some 20 to 60 µs more, however many steps it has.

    Args:
        cell: One step, `cell(input, state) -> state`, or any of the forms that `rnnbench run` takes, such as one that
            returns (output, state).
        batch_first: Whether the input is (batch, seq, features) instead of (seq, batch, features).

    Returns:
        A module with the cell as its submodule `cell`: (input, state=None) -> (outputs, state), with a tensor
        (1, batch, hidden) for each tensor of the cell's state. A call without a state begins with the state of the
        cell's own `init_state` or a similar function, with a first step without a state if the cell takes such a step
        and it is none from zeros, or else with zeros. A cell may read frames (seq, batch, channels, height, width);
        outputs that are frames are flattened to (seq, batch, features).

    Raises:
        ValueError: By a call: its input has other dimensions, the module is no cell or mixes the sequences of a batch,
            or no state is given and the cell goes on from its last call.
    """
    return Unrolled(cell, batch_first=batch_first)


@for_users
def with_head(layer: nn.Module, output_size: int, *, features: int | None = None) -> Headed:
    """Return a recurrent layer whose outputs go through a linear layer.

        model = rnnbench.with_head(nn.LSTM(64, 128), 10)

    Args:
        layer: (input, state=None) -> (outputs, state).
        output_size: How many values the linear layer gives.
        features: The last size of the layer's outputs, by default its `hidden_size` (of both directions).

    Returns:
        A module with the submodules `layer` and `head`.

    Raises:
        ValueError: The number of features is not known.
    """
    return Headed(layer, output_size, features)


@for_users
def same_weights(mine: Mine, *, like: nn.Module) -> Mine:
    """Give a module the weights of another one that computes the same, so that their outputs agree.

        layer = nn.LSTM(64, 128)
        mine = rnnbench.same_weights(rnnbench.unroll(MyCell(64, 128)), like=layer)

    Parameters fit if they have the same shapes and names. The names of submodules in front and the ending `_l0` of a
    single layer do not count: `cell.weight_ih` gets `weight_ih_l0`. A class with other parameters needs a method
    `weights_from`, which makes them from those of a layer, as for `rnnbench run`.

    Args:
        mine: The module that gets the weights; it is changed.
        like: The module that has them; it stays as it is.

    Returns:
        `mine`.

    Raises:
        ValueError: The parameters do not fit.
    """
    copy_weights(mine, like)
    return mine
