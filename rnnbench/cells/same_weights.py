"""Give a module the weights of another one that computes the same."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rnnbench.cells import CellError
from rnnbench.cells.own import why_unmapped
from rnnbench.cells.parity import cell_weights
from rnnbench.store.records import ReferenceLayer

NamedWeights = dict[str, tuple[str, Tensor]]  # plain name -> full name and parameter
FIRST_LAYER = "_l0"  # the end of the names of the only layer's parameters in torch.nn
REFERENCE_LAYERS: dict[type[nn.Module], ReferenceLayer] = {
    nn.RNN: "rnn", nn.LSTM: "lstm", nn.GRU: "gru", nn.RNNCell: "rnn", nn.LSTMCell: "lstm", nn.GRUCell: "gru",
}  # fmt: skip


def copy_weights(mine: nn.Module, like: nn.Module) -> None:
    """Copy the parameters of `like` into `mine`, and the buffers of the same name and shape.

    Names may differ in the modules before them and in the ending of a single layer: `cell.weight_ih` is `weight_ih_l0`.
    Another naming, order or form is read from the `weights_from` of `mine` (`rnnbench.cells.own`). Raises ValueError if
    the parameters do not fit.
    """
    weights = _mapped(mine, like)
    with torch.no_grad():
        for name, parameter in mine.named_parameters():
            parameter.copy_(weights[name])
        own, others = _plain_names(dict(mine.named_buffers())), _plain_names(dict(like.named_buffers()))
        for name, (_, buffer) in own.items():  # such as the running means of a batch norm
            if name in others and others[name][1].shape == buffer.shape:
                buffer.copy_(others[name][1])


def _mapped(mine: nn.Module, like: nn.Module) -> dict[str, Tensor]:
    """The parameters of `mine`, by name, made from those of `like`."""
    own, others = _plain_names(dict(mine.named_parameters())), _plain_names(dict(like.named_parameters()))
    if not own:
        raise ValueError(f"mine: {type(mine).__name__} has no parameters; call it once first if they are made lazily")
    if {name: weight.shape for name, (_, weight) in own.items()} == {
        name: weight.shape for name, (_, weight) in others.items()
    }:
        return {full: others[name][1] for name, (full, _) in own.items()}
    if mapped := _by_mapping(mine, like):
        return mapped
    lacking = _apart(others, own)
    strange = [own[name][0] for name in _apart(own, others)]
    raise ValueError(
        f"mine: can't copy weights from {type(like).__name__}: no match for {', '.join(strange or lacking[:3])} "
        f"(left over: {', '.join(lacking[:3]) or 'none'}). Define `weights_from` in its class, or copy them yourself"
    )


def _apart(named: NamedWeights, others: NamedWeights) -> list[str]:
    """The plain names of parameters that the others lack, or have in another shape."""
    return [name for name, (_, weight) in named.items() if name not in others or others[name][1].shape != weight.shape]


def _plain_names(parameters: Mapping[str, Tensor]) -> NamedWeights:
    """Each parameter with its full name, by its last name without `_l0`; by its full name if two would be the same."""
    last = [name.rpartition(".")[2].removesuffix(FIRST_LAYER) for name in parameters]
    plain = last if len(set(last)) == len(last) else list(parameters)
    return dict(zip(plain, parameters.items(), strict=True))


def _by_mapping(mine: nn.Module, like: nn.Module) -> dict[str, Tensor] | None:
    """The parameters by the module's own `weights_from`, or by that of a module in it; None if there is none.

    The module must be the only one with a mapping, besides those within it.
    """
    layer = REFERENCE_LAYERS.get(type(like))
    owners = {name: module for name, module in mine.named_modules() if hasattr(module, "weights_from")}
    prefix = next(iter(owners), None)  # modules come before those within them
    if (
        layer is None
        or prefix is None
        or any(not f"{name}.".startswith(f"{prefix}." if prefix else "") for name in owners)
    ):
        return None
    owner = owners[prefix]
    is_cell = isinstance(like, nn.RNNCellBase)
    reference = {f"{name}{FIRST_LAYER}" if is_cell else name: weight for name, weight in like.named_parameters()}
    try:
        for whole in (False, True):
            if not why_unmapped(owner, reference, layer, whole=whole):
                mapped = cell_weights(owner, reference, whole=whole)
                start = f"{prefix}." if prefix else ""
                return {f"{start}{name}": weight for name, weight in mapped.items()}
    except (CellError, KeyError) as error:
        raise ValueError(f"mine: {error}") from error
    return None
