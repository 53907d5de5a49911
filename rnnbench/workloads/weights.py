"""Give a model the weights of its reference, as a differentiable function of them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rnnbench.cells import CellSpec
from rnnbench.cells.parity import Weights
from rnnbench.cells.weights import cell_weights, shapes
from rnnbench.store.records import Workload, is_cell_reference
from rnnbench.workloads.model import Body, Cells, SequenceModel, own_module


def model_weights(model: SequenceModel, reference: Weights) -> dict[str, Tensor] | None:
    """Return the parameters of `model`, by name, as a function of those of the reference's `SequenceModel`.

    Returns None and raises CellError as `cell_weights`.
    """
    if any(name.startswith("body.cells.") for name in reference):  # another cell, with the same parameters
        return dict(reference) if shapes(dict(model.named_parameters())) == shapes(reference) else None
    mapped = {name: weight for name, weight in reference.items() if name.startswith("head.")}
    for part, body in zip(("body", "decoder"), model.bodies, strict=False):
        start = f"{part}.layer."
        own = {name.removeprefix(start): weight for name, weight in reference.items() if name.startswith(start)}
        for place, module, weights in _modules(body, own):
            given = cell_weights(module, weights, whole=not isinstance(body, Cells))
            if given is None:
                return None
            mapped |= {f"{part}.{place}.{name}": weight for name, weight in given.items()}
    return mapped


def take_weights(workload: Workload, spec: CellSpec, model: SequenceModel, reference: SequenceModel) -> str:
    """Give a model its reference's weights; returns why its outputs can't be compared, empty if they can.

    If they can't be given, only the head gets them and the body keeps its own. Raises CellError if a class's mapping
    does not fit it.
    """
    why = "the class asks for that (`weights_from = None`)"
    if getattr(own_module(model.body), "weights_from", ...) is not None:
        mapped = model_weights(model, dict(reference.named_parameters()))
        if mapped is not None:
            with torch.no_grad():
                for name, parameter in model.named_parameters():  # not `load_state_dict`, which would need buffers too
                    parameter.copy_(mapped[name])
            return spec.unequal
        like = f"{workload.layer}{'Cell' if isinstance(model.body, Cells) else ''}"
        why = f"no weight mapping: offer `weights_from`, or name parameters as {like} does"
        if is_cell_reference(workload.reference):
            why = f"its parameters are not those of {workload.layer}"
    if model.head.in_features == reference.head.in_features:
        model.head.load_state_dict(reference.head.state_dict())
    return f"not compared: {why}"


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
