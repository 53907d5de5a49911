"""Tests of states of any structure."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnbench.adapt.states import is_alike, rebuilt, tensors_of
from rnnbench.cells import CellError

Pair = namedtuple("Pair", "h c")  # as people write it


@dataclass
class Memory:
    """A state with names."""

    h: Any
    c: Any


structures = st.recursive(
    st.builds(lambda value: torch.tensor([float(value)]), st.integers(0, 10**6)),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3),
        st.lists(parts, min_size=1, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["h", "c", "n", "m"]), parts, min_size=1),
        st.builds(Pair, parts, parts),
        st.builds(Memory, parts, parts),
    ),
    max_leaves=8,
)


def reordered(state: Any) -> Any:
    """The same state with the keys of every dictionary in the opposite order."""
    if isinstance(state, dict):
        return {key: reordered(part) for key, part in reversed(state.items())}
    if isinstance(state, Memory | Pair):
        return type(state)(reordered(state.h), reordered(state.c))
    return state if isinstance(state, Tensor) else type(state)(map(reordered, state))


@given(structures)
def test_the_order_of_keys_changes_nothing(state: Any) -> None:
    other = reordered(state)
    assert is_alike(other, state)
    assert rebuilt(state, iter(tensors_of(other, state))) == state


def test_a_state_that_holds_something_else_is_refused() -> None:
    with pytest.raises(CellError, match="its state holds str; expected tensors"):
        tensors_of({"h": "zero"})
