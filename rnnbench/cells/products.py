"""The matrix products of a cell: the arithmetic of a step that grows with the square of its sizes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """A product of one step, for one sequence: `outputs` sums over some of the layer's input and some of its state."""

    inputs: int  # values of the layer's input
    states: int  # values of states of the step before
    outputs: int

    @property
    def macs(self) -> int:
        """Its multiply-accumulates."""
        return (self.inputs + self.states) * self.outputs


CellProducts = tuple[Product, ...]  # the products of one layer; pointwise work is not counted


def apart(input_size: int, hidden_size: int, gates: int) -> CellProducts:
    """The layer of a cell that weights input and state apart, `gates` of each."""
    return Product(input_size, 0, gates * hidden_size), Product(0, hidden_size, gates * hidden_size)
