"""Functions of `import rnnbench` that make modules comparable."""

from typing import TYPE_CHECKING, TypeVar

from rnnbench.api.errors import short_tracebacks

if TYPE_CHECKING:
    from torch import nn

    from rnnbench.cells.headed import Headed
    from rnnbench.harness.fastest.unrolled import Unrolled

Mine = TypeVar("Mine", bound="nn.Module")


@short_tracebacks
def unroll(cell: "nn.Module", *, batch_first: bool = False) -> "Unrolled":
    """Run a cell over a sequence, called as torch.nn's layers are.

        layer = rnnbench.unroll(MyCell(64, 128))
        outputs, state = layer(torch.randn(32, 8, 64))

    `cell`: one step, `cell(input, state) -> state`, or any of the forms that `rnnbench run` takes, such as one that
    returns (output, state). `batch_first`: the input is (batch, seq, features) instead of (seq, batch, features).

    Returns a module with the cell as its submodule `cell`: (input, state=None) -> (outputs, state), with a tensor
    (1, batch, hidden) for each tensor of the cell's state. A call without a state begins with zeros, or with the state
    of the cell's own `init_state` or a similar function. A call raises ValueError for an input of other dimensions, if
    the module is no cell, and if its first state is not zero, not given and not known.
    """
    from rnnbench.harness.fastest.unrolled import Unrolled

    return Unrolled(cell, batch_first=batch_first)


@short_tracebacks
def with_head(layer: "nn.Module", output_size: int, *, features: int | None = None) -> "Headed":
    """A recurrent layer whose outputs go through a linear layer.

        model = rnnbench.with_head(nn.LSTM(64, 128), 10)

    `layer`: (input, state=None) -> (outputs, state). `output_size`: how many values the linear layer gives.
    `features`: the last size of the layer's outputs, by default its `hidden_size` (of both directions). Returns a
    module with the submodules `layer` and `head`. Raises ValueError if the number of features is not known.
    """
    from rnnbench.cells.headed import with_head as headed

    return headed(layer, output_size, features)


@short_tracebacks
def same_weights(mine: Mine, *, like: "nn.Module") -> Mine:
    """Give a module the weights of another one that computes the same, so that their outputs agree.

        layer = nn.LSTM(64, 128)
        mine = rnnbench.same_weights(rnnbench.unroll(MyCell(64, 128)), like=layer)

    Parameters fit if they have the same shapes and names. The names of submodules in front and the ending `_l0` of a
    single layer do not count: `cell.weight_ih` gets `weight_ih_l0`. A class with other parameters needs a method
    `weights_from`, which makes them from those of a layer, as for `rnnbench run`.

    `mine` is changed and returned; `like` stays as it is. Raises ValueError if the parameters do not fit.
    """
    from rnnbench.cells.same_weights import copy_weights

    copy_weights(mine, like)
    return mine
