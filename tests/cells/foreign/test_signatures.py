"""The parameters of strangers' functions."""

from torch import Tensor, nn

from rnnbench.cells.foreign.signatures import parameters_of


def test_parameters_that_can_not_be_read_are_none() -> None:
    def takes(first: int, *, second: int = 2) -> None: ...

    assert list(parameters_of(takes)) == ["first", "second"]
    assert list(parameters_of(nn.Linear)) == ["in_features", "out_features", "bias", "device", "dtype"]
    assert parameters_of(Tensor.add_) == {}
