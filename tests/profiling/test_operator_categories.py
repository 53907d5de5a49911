"""The category of an operator."""

import pytest

from rnnbench.profiling.operator_categories import category


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::addmm", "products"),
        ("aten::tanh", "pointwise"),
        ("aten::sigmoid_backward", "pointwise"),
        ("aten::clone", "copies"),
        ("aten::cat", "copies"),
        ("aten::t", "views"),
        ("aten::empty", "views"),
        ("aten::mkldnn_rnn_layer_backward", "layer"),
        ("aten::sum", "other"),
        ("aten::no_such_operator", "other"),
        ("mine::own", "other"),
    ],
)
def test_an_operator_has_the_category_of_its_work(name: str, kind: str) -> None:
    assert category(name) == kind
