"""The weights of a folder: read, put into a module that is given, or into modules that do nothing but hold them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rnnbench.errors import UserError
from rnnbench.speedup.kept.manifest import AGAIN, KeptLayer
from rnnbench.text import first_line, listed


def read_tensors(file: Path) -> Any:
    """Return the tensors of a file; only tensors are read, and no code is run. Raises UserError."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # whatever torch raises for a file that is none of its own
        raise UserError(f"{file} can't be read: {first_line(error)}; copy the folder again, or {AGAIN}") from error


def with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return the user's module with the weights of a folder; raises UserError if it has others."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    names = sorted(tensors.keys() ^ weights.keys())
    names = names or [name for name in tensors if tensors[name].shape != weights[name].shape]
    if names:
        raise UserError(
            f"as_given: {type(module).__name__} does not have the parameters of the folder: {listed(names[:3])} "
            "differ; give a module that was built as the saved one was"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(weights[name])
    return module


def layer_with_weights(kept: KeptLayer, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a layer of torch.nn, made anew."""
    layer: nn.Module = getattr(nn, kept.name)(**kept.arguments, dtype=next(iter(weights.values())).dtype)
    return with_weights(layer, weights).requires_grad_(requires_grad=False)


def holder_of(weights: Mapping[str, Tensor], volatile: Sequence[str]) -> nn.Module:
    """Return modules that have tensors under their names, and do nothing; a tensor in floating point is a parameter."""
    root = nn.Module()
    for path, tensor in weights.items():
        *parents, name = path.split(".")
        owner = root
        for parent in parents:
            if parent not in owner._modules:
                owner.add_module(parent, nn.Module())
            owner = cast("nn.Module", owner._modules[parent])
        if tensor.is_floating_point() and path not in volatile:
            owner.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        else:
            owner.register_buffer(name, tensor, persistent=path not in volatile)
    return root
