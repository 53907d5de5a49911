"""A recurrent layer with a linear output head."""

from typing import Any

from torch import Tensor, nn


class Headed(nn.Module):
    """`layer(input, state=None) -> (outputs, state)`, whose outputs go through a linear layer `head`."""

    def __init__(self, layer: nn.Module, outputs: int, features: int | None = None) -> None:
        """`features`: the last size of the layer's outputs; `outputs`: that of the head's.

        Raises ValueError if the number of features is not given and the layer does not say it.
        """
        super().__init__()
        if features is None:
            of_cell = getattr(getattr(layer, "cell", None), "hidden_size", None)
            hidden = getattr(layer, "proj_size", 0) or getattr(layer, "hidden_size", of_cell)
            if not isinstance(hidden, int):
                raise ValueError(
                    f"features: {type(layer).__name__} has no hidden_size; give the last size of its outputs as "
                    "features="
                )
            features = hidden * (2 if getattr(layer, "bidirectional", False) else 1)
        self.layer, self.head = layer, nn.Linear(features, outputs)

    def forward(self, input: Tensor, *state: Any) -> tuple[Tensor, Any]:
        """Run the layer and the head: (..., features) -> (..., outputs), and the layer's state."""
        outputs, final = self.layer(input, *state)
        return self.head(outputs), final
