"""How a module's weights follow from another's: from a layer of torch.nn, or from a module that computes the same.

A user's own class may have these members:

- `weights_from(reference)`: its parameters by name, as a differentiable function of those of one layer and direction
  of the reference (`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`), or of all of them for a module that
  runs the whole sequence. Without it, parameters with the names and shapes of torch.nn's own are used unchanged. If it
  is None, outputs are not compared.
- `states`: the number of tensors of its state, used if there is no reference, or if the reference's state does not fit;
  1 is `h`, 2 is `(h, c)`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.states import copy_values
from rnnbench.store.records import LAYERS, Reference

Weights = Mapping[str, Tensor]
NamedTensors = dict[str, tuple[str, Tensor]]  # by a short name: the full name, and the tensor
FIRST_LAYER = "_l0"  # the end of the names of the only layer's parameters in torch.nn


def shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def cell_weights(module: nn.Module, reference: Weights, *, whole: bool = False) -> dict[str, Tensor] | None:
    """Return the parameters of a module as a differentiable function of those of a torch.nn layer.

    A module whose parameters differ from those of torch's own maps them in `weights_from(reference)`. `whole`: it runs
    the whole sequence, and has the parameters of all layers. Returns None if it has other parameters and no mapping.
    Raises CellError if its mapping needs others than there are, or gives other parameters than it has.
    """
    mapping = getattr(module, "weights_from", None)
    name = type(module).__name__
    if mapping is None:
        mapped: Any = {key if whole else key.removesuffix(FIRST_LAYER): weight for key, weight in reference.items()}
    else:
        try:
            mapped = mapping(reference)
        except KeyError as error:
            raise CellError(f"{name}.weights_from needs {error}, which the reference does not have") from error
        if not isinstance(mapped, Mapping) or not all(isinstance(weight, Tensor) for weight in mapped.values()):
            raise CellError(f"{name}.weights_from gives no tensors by name")
    mapped_shapes = shapes(mapped)
    module_shapes = shapes(dict(module.named_parameters()))
    if mapped_shapes == module_shapes:
        return dict(mapped)
    if mapping is None:
        return None
    raise CellError(
        f"{name}.weights_from gives {_in_words(mapped_shapes, module_shapes)}; "
        f"the class has {_in_words(module_shapes, mapped_shapes)}"
    )


def _in_words(one: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]]) -> str:
    """Return the names and shapes of the parameters that only the first of two modules has."""
    texts = [f"{name} {shape}" for name, shape in one.items() if other.get(name) != shape]
    return ", ".join(texts) or "nothing beside the others"


def state_count(factory: Any, reference: Reference) -> int:
    """Return the number of tensors of the state, by the reference, or by the class or function that builds the module.

    Raises CellError if `states` is not valid.
    """
    if reference in LAYERS:
        return 2 if reference == "lstm" else 1
    is_lstm = isinstance(factory, type) and issubclass(factory, nn.LSTM | nn.LSTMCell)
    count = getattr(factory, "states", 2 if is_lstm else 1)
    if not isinstance(count, int) or count < 1:
        raise CellError(f"{factory.__name__}.states is {count!r}; expected how many tensors its state has: 1 is h")
    return count


def copy_weights(mine: nn.Module, like: nn.Module) -> None:
    """Copy the parameters of `like` into `mine`, and the buffers of the same name and shape.

    Names match if they differ only in the names of submodules in front and in the ending of a single layer:
    `cell.weight_ih` is `weight_ih_l0`. Other names, orders or forms are mapped by the `weights_from` of `mine`. Raises
    ValueError if the parameters do not fit.
    """
    parameters = _plain_names(dict(mine.named_parameters()))
    other_parameters = _plain_names(dict(like.named_parameters()))
    if not parameters:
        raise ValueError(f"mine: {type(mine).__name__} has no parameters; call it once first if they are made lazily")
    strange = _without_match(parameters, other_parameters)
    lacking = _without_match(other_parameters, parameters)
    same = {full: other_parameters[name][1] for name, (full, _) in parameters.items() if name in other_parameters}
    weights = _by_mapping(mine, like) if strange or lacking else same
    if not weights:
        raise ValueError(
            f"mine: can't copy weights from {type(like).__name__}: no match for "
            f"{', '.join([parameters[name][0] for name in strange] or lacking[:3])} (left over: "
            f"{', '.join(lacking[:3]) or 'none'}). Define `weights_from` in its class, or copy them yourself"
        )
    buffers = _plain_names(dict(mine.named_buffers()))
    other_buffers = _plain_names(dict(like.named_buffers()))
    with torch.no_grad():
        for name, parameter in mine.named_parameters():
            parameter.copy_(weights[name])
        for name, (_, buffer) in buffers.items():  # such as the running means of a batch norm
            if name in other_buffers and other_buffers[name][1].shape == buffer.shape:
                copy_values(buffer, other_buffers[name][1])


def _without_match(one: NamedTensors, other: NamedTensors) -> list[str]:
    """Return the names under which the other module has no tensor of the same shape."""
    return [name for name, (_, weight) in one.items() if name not in other or other[name][1].shape != weight.shape]


def _plain_names(tensors: Mapping[str, Tensor]) -> NamedTensors:
    """Return full names and tensors by last names, without `_l0`; by full names if two last names are equal."""
    last = [name.rpartition(".")[2].removesuffix(FIRST_LAYER) for name in tensors]
    plain = last if len(set(last)) == len(last) else list(tensors)
    return dict(zip(plain, tensors.items(), strict=True))


def _by_mapping(mine: nn.Module, like: nn.Module) -> dict[str, Tensor] | None:
    """Return the parameters by the module's own `weights_from`, or by that of a module in it; None if there is none.

    The module must be the only one with a mapping, besides those within it.
    """
    mapping = [name for name, module in mine.named_modules() if getattr(module, "weights_from", None) is not None]
    if not isinstance(like, nn.RNNBase | nn.RNNCellBase) or not mapping:
        return None
    owner = mapping[0]  # modules come before those within them
    start = f"{owner}." if owner else ""
    if not all(name.startswith(start) for name in mapping[1:]):
        return None
    ending = FIRST_LAYER if isinstance(like, nn.RNNCellBase) else ""
    reference = {f"{name}{ending}": weight for name, weight in like.named_parameters()}
    mapped = cell_weights(mine.get_submodule(owner), reference)
    return None if mapped is None else {f"{start}{name}": weight for name, weight in mapped.items()}
