"""From the parameters of a model of torch.nn layers to those of the same model of cells, differentiably."""

from collections.abc import Mapping

from torch import Tensor

from rnnbench.cells.parity import Weights, cell_weights
from rnnbench.workloads.bodies import Body, Cells
from rnnbench.workloads.model import SequenceModel


def model_weights(model: SequenceModel, reference: Weights) -> dict[str, Tensor]:
    """The parameters of `model`, by name, as a function of those of the reference's `SequenceModel`."""
    mapped = {name: weight for name, weight in reference.items() if name.startswith("head.")}
    for part, body in (("body", model.body), ("decoder", model.decoder)):
        own = _below(f"{part}.layer.", reference)
        if body is not None and own:
            mapped |= {f"{part}.{name}": weight for name, weight in _body_weights(body, own).items()}
    return mapped


def _body_weights(body: Body, reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(body, Cells):
        return {f"layer.{name}": weight for name, weight in reference.items()}
    if body.stacked:
        return {f"cells.0.{name}": weight for name, weight in cell_weights(body.cells[0], reference).items()}
    mapped: dict[str, Tensor] = {}
    for index, cell in enumerate(body.cells):
        layer, direction = divmod(index, body.directions)
        suffix = f"_l{layer}{'_reverse' if direction else ''}"
        of_cell = {
            f"{name.removesuffix(suffix)}_l0": weight for name, weight in reference.items() if name.endswith(suffix)
        }
        mapped |= {f"cells.{index}.{name}": weight for name, weight in cell_weights(cell, of_cell).items()}
    return mapped


def _below(prefix: str, weights: Weights) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
