"""The matrix products of a cell: the arithmetic of a step that grows with the square of its sizes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """A product of one step, for one sequence: `outputs` sums over values of the layer's input and of its state."""

    inputs: int  # values of the layer's input
    states: int  # values of the previous step's states
    outputs: int

    @property
    def macs(self) -> int:
        """Its multiply-accumulates."""
        return (self.inputs + self.states) * self.outputs


CellProducts = tuple[Product, ...]  # the products of one layer; pointwise work is not counted


def apart(input_size: int, hidden_size: int, gates: int) -> CellProducts:
    """The products of a layer with separate weights for input and state, each with `gates` gates."""
    return Product(input_size, 0, gates * hidden_size), Product(0, hidden_size, gates * hidden_size)
