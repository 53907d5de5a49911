"""Map the parameters of a model of torch.nn layers to those of the same model of cells, differentiably."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rnnbench.cells.own import why_unmapped
from rnnbench.cells.parity import Weights, cell_weights
from rnnbench.store.records import Reference
from rnnbench.workloads.model import Body, Cells, SequenceModel, own_module


def model_weights(model: SequenceModel, reference: Weights) -> dict[str, Tensor]:
    """The parameters of `model`, by name, as a function of those of the reference's `SequenceModel`."""
    if any(name.startswith("body.cells.") for name in reference):  # another cell, with the same parameters
        return dict(reference)
    mapped = {name: weight for name, weight in reference.items() if name.startswith("head.")}
    for part, body in (("body", model.body), ("decoder", model.decoder)):
        own = _below(f"{part}.layer.", reference)
        if body is not None and own:
            mapped |= {f"{part}.{name}": weight for name, weight in _body_weights(body, own).items()}
    return mapped


def take(model: SequenceModel, reference: SequenceModel, layer: Reference) -> str:
    """Give a model of a user's own class its reference's weights; returns why they can't be given, empty if they are.

    If they can't be given, only the head gets them and the body keeps its own. Raises CellError if the class's mapping
    does not fit it.
    """
    weights = dict(reference.named_parameters())
    why = _why_unmapped(model.body, _below("body.layer.", weights), layer)
    if why:
        if model.head.in_features == reference.head.in_features:
            model.head.load_state_dict(reference.head.state_dict())
        return why
    mapped = model_weights(model, weights)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # not `load_state_dict`, which would need buffers too
            parameter.copy_(mapped[name])
    return ""


def take_same(model: SequenceModel, reference: SequenceModel, name: str) -> str:
    """Give a model the parameters of another cell's; returns why that can't be done, empty if it is done.

    `name`: the other cell's. Parameters must have the same names and shapes.
    """
    own, others = dict(model.named_parameters()), dict(reference.named_parameters())
    is_same = {key: weight.shape for key, weight in own.items()} == {key: each.shape for key, each in others.items()}
    if is_same and getattr(own_module(model.body), "weights_from", ...) is not None:
        with torch.no_grad():
            for key, parameter in own.items():
                parameter.copy_(others[key])
        return ""
    if model.head.in_features == reference.head.in_features:
        model.head.load_state_dict(reference.head.state_dict())
    if is_same:
        return "not compared: the class asks for that (`weights_from = None`)"
    return f"not compared: its parameters are not those of {name}"


def _why_unmapped(body: Body, reference: Weights, layer: Reference) -> str:
    """Check every cell: all are of one class, but those of higher layers have other sizes."""
    if not isinstance(body, Cells):
        return why_unmapped(body.layer, reference, layer, whole=True)
    reasons = (
        why_unmapped(cell, _of_cell(index, body, reference), layer, whole=False)
        for index, cell in enumerate(body.cells)
    )
    return next(filter(None, reasons), "")


def _body_weights(body: Body, reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(body, Cells):
        return {f"layer.{name}": weight for name, weight in cell_weights(body.layer, reference, whole=True).items()}
    if body.stacked:
        return {f"cells.0.{name}": weight for name, weight in cell_weights(body.cells[0], reference).items()}
    mapped: dict[str, Tensor] = {}
    for index, cell in enumerate(body.cells):
        of_cell = _of_cell(index, body, reference)
        mapped |= {f"cells.{index}.{name}": weight for name, weight in cell_weights(cell, of_cell).items()}
    return mapped


def _of_cell(index: int, body: Cells, reference: Weights) -> dict[str, Tensor]:
    """The parameters of one layer and direction, named as those of the first."""
    layer, direction = divmod(index, body.directions)
    suffix = f"_l{layer}{'_reverse' if direction else ''}"
    return {f"{name.removesuffix(suffix)}_l0": weight for name, weight in reference.items() if name.endswith(suffix)}


def _below(prefix: str, weights: Weights) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
