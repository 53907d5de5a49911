"""Give a model the weights of its reference, as a differentiable function of them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rnnbench.cells import CellSpec, is_own
from rnnbench.cells.parity import Weights
from rnnbench.cells.weights import cell_weights, why_unmapped
from rnnbench.store.records import Case, is_cell_reference
from rnnbench.workloads.model import Body, Cells, SequenceModel, own_module


def model_weights(model: SequenceModel, reference: Weights) -> dict[str, Tensor]:
    """Return the parameters of `model`, by name, as a function of those of the reference's `SequenceModel`."""
    if any(name.startswith("body.cells.") for name in reference):  # another cell, with the same parameters
        return dict(reference)
    mapped = {name: weight for name, weight in reference.items() if name.startswith("head.")}
    for part, body in (("body", model.body), ("decoder", model.decoder)):
        own = _below(f"{part}.layer.", reference)
        if body is not None and own:
            for place, module, weights in _modules(body, own):
                given = cell_weights(module, weights, whole=not isinstance(body, Cells))
                mapped |= {f"{part}.{place}.{name}": weight for name, weight in given.items()}
    return mapped


def take_weights(case: Case, spec: CellSpec | None, model: SequenceModel, reference: SequenceModel | None) -> str:
    """Give a model its reference's weights; returns why its outputs can't be compared, empty if they can.

    If they can't be given, only the head gets them and the body keeps its own. Raises CellError if a class's mapping
    does not fit it.
    """
    if reference is None:
        return "not compared: there is no reference"
    weights = dict(reference.named_parameters())
    if is_cell_reference(case.workload.reference):
        why = _why_not_the_same(model, weights, case.workload.reference)
    elif spec is not None and (is_own(case.cell) or is_other_recurrence(spec)):
        own = _below("body.layer.", weights)
        reasons = (
            why_unmapped(module, part, case.workload.reference, whole=not isinstance(model.body, Cells))
            for _, module, part in _modules(model.body, own)
        )
        why = next(filter(None, reasons), "")
    else:
        model.load_state_dict(model_weights(model, weights))
        return "" if spec is None else spec.unequal
    if not why:
        mapped = model_weights(model, weights)
        with torch.no_grad():
            for name, parameter in model.named_parameters():  # not `load_state_dict`, which would need buffers too
                parameter.copy_(mapped[name])
    elif model.head.in_features == reference.head.in_features:
        model.head.load_state_dict(reference.head.state_dict())
    return why


def is_other_recurrence(spec: CellSpec | None) -> bool:
    """Return True for a cell of rnnbench's own with a state and weights that no layer of torch.nn has."""
    return spec is not None and bool(spec.unequal) and not spec.stacked


def _why_not_the_same(model: SequenceModel, others: Weights, name: str) -> str:
    """Return why a model can't have the parameters of another cell's, which must have the same names and shapes."""
    shapes = ({key: weight.shape for key, weight in each.items()} for each in (dict(model.named_parameters()), others))
    if next(shapes) != next(shapes):
        return f"not compared: its parameters are not those of {name}"
    asks = getattr(own_module(model.body), "weights_from", ...) is None
    return "not compared: the class asks for that (`weights_from = None`)" if asks else ""


def _modules(body: Body, reference: Weights) -> Iterator[tuple[str, nn.Module, Weights]]:
    """Yield each module of a body, its place there, and the layer's weights that it has.

    The weights of one layer and direction are named as those of the first.
    """
    if not isinstance(body, Cells):
        yield "layer", body.layer, reference
        return
    for index, cell in enumerate(body.cells):
        layer, direction = divmod(index, body.directions)
        ending = f"_l{layer}{'_reverse' if direction else ''}"
        own = {f"{key.removesuffix(ending)}_l0": each for key, each in reference.items() if key.endswith(ending)}
        yield f"cells.{index}", cell, reference if body.stacked else own


def _below(prefix: str, weights: Weights) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
