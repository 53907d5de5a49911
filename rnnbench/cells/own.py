"""Optional members of a user's own class: the form of its state, and how its weights follow from a torch.nn layer's.

- `weights_from(reference)`: its parameters by name, as a differentiable function of those of one layer and direction
  of the reference (`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`), or of all of them for a module that
  runs the whole sequence. Without it, parameters with the names and shapes of torch.nn's own are used unchanged. If it
  is None, outputs are not compared.
- `states`: the number of tensors of its state, used if there is no reference, or if the reference's state does not fit;
  1 is `h`, 2 is `(h, c)`.
- `products(input_size, hidden_size)`: its arithmetic, as in `rnnbench.cells.parts`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.parity import Weights, cell_weights
from rnnbench.store.records import LAYERS, Reference

Shapes = dict[str, tuple[int, ...]]


def state_count(factory: Any, reference: Reference) -> int:
    """The number of tensors of the state, by the reference, or by the class or function that builds the module.

    Raises CellError if `states` is not valid.
    """
    if reference in LAYERS:
        return 2 if reference == "lstm" else 1
    is_lstm = isinstance(factory, type) and issubclass(factory, nn.LSTM | nn.LSTMCell)
    count = getattr(factory, "states", 2 if is_lstm else 1)
    if not isinstance(count, int) or count < 1:
        raise CellError(f"{factory.__name__}.states is {count!r}; expected how many tensors its state has: 1 is h")
    return count


def why_unmapped(module: Any, reference: Weights, layer: Reference, *, whole: bool) -> str:
    """Why the weights of `reference` can't be given to a module; empty if they can.

    `whole`: the module runs the whole sequence and has the parameters of all layers. Raises CellError if its mapping
    gives other parameters than the module has.
    """
    own = _shapes(dict(module.named_parameters()))
    if not hasattr(module, "weights_from"):
        if _shapes(cell_weights(module, reference, whole=whole)) == own:
            return ""
        like = LAYERS[layer] + ("" if whole else "Cell")
        return f"not compared: no weight mapping: offer `weights_from`, or name parameters as {like} does"
    if module.weights_from is None:
        return "not compared: the class asks for that (`weights_from = None`)"
    mapped = cell_weights(module, reference, whole=whole)
    if not isinstance(mapped, Mapping) or not all(isinstance(weight, Tensor) for weight in mapped.values()):
        raise CellError(f"{_name(module)}.weights_from gives no tensors by name")
    given = _shapes(mapped)
    if given != own:
        raise CellError(f"{_name(module)}.weights_from gives {_less(given, own)}; the class has {_less(own, given)}")
    return ""


def _shapes(weights: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _less(shapes: Shapes, others: Shapes) -> str:
    """The shapes that `others` lacks, such as `weight (6, 5), bias (6,)`."""
    missing = [f"{name} {shape}" for name, shape in shapes.items() if others.get(name) != shape]
    return ", ".join(missing) or "nothing beside the others"


def _name(module: nn.Module) -> str:
    return type(module).__name__
