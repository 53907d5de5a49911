"""rnnbench's own products in C: right for every size and order, and a reason where they can't be built."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnbench.kernels import direct
from rnnbench.store.metrics import Unavailable

pytestmark = pytest.mark.usefixtures("own_products", "one_thread")
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-13}  # of the largest value
SIZES = st.one_of(st.integers(1, 20), st.sampled_from([63, 64, 65, 130, 511, 512, 513, 1100]))


def spread(matrix: Tensor) -> Tensor:
    """The matrix with gaps between its rows."""
    rows, columns = matrix.shape
    return matrix.new_empty_strided((rows, columns), (columns + 3, 1)).copy_(matrix)


def by_column(matrix: Tensor) -> Tensor:
    return matrix.t().contiguous().t()


@given(
    dtype=st.sampled_from(list(TOLERANCES)),
    rows=st.integers(1, 31),
    sizes=st.tuples(SIZES, SIZES, st.sampled_from([1, 15, 16, 17, 63, 64, 65, 80, 130, 256])),
    has=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    packs=st.tuples(st.booleans(), st.booleans()),
    is_spread=st.booleans(),
)
def test_products_are_those_of_float64(
    dtype: torch.dtype,
    rows: int,
    sizes: tuple[int, int, int],
    has: tuple[bool, bool, bool],
    packs: tuple[bool, bool],
    is_spread: bool,
) -> None:
    torch.manual_seed(0)
    functions, (inner, inner_2, columns), (has_bias, has_added, has_second) = direct.load(dtype), sizes, has
    stored = spread if is_spread else torch.clone
    x, right = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    x_2, right_2 = torch.randn(rows, inner_2, dtype=dtype), torch.randn(inner_2, columns, dtype=dtype)
    bias, added = torch.randn(columns, dtype=dtype), torch.randn(rows, columns, dtype=dtype)
    expected = x.double() @ right.double()
    expected += has_second * (x_2.double() @ right_2.double()) + has_bias * bias.double() + has_added * added.double()
    factors = [
        functions.pack(by_column(each) if is_spread else each) if is_packed else stored(each)
        for each, is_packed in zip((right, right_2), packs, strict=True)
    ]
    found = functions(
        stored(x),
        factors[0],
        bias if has_bias else None,
        stored(added) if has_added else None,
        columns,
        stored(x_2) if has_second else None,
        factors[1] if has_second else None,
    )
    assert (found - expected).abs().max() <= TOLERANCES[dtype] * max(1.0, float(expected.abs().max()))


def test_two_threads_make_the_same_product() -> None:
    torch.manual_seed(0)
    x, right, functions = torch.randn(40, 200), torch.randn(200, 300), direct.load(torch.float32)
    one = functions(x, right, None, None, 300), functions(x, functions.pack(by_column(right)), None, None, 300)
    torch.set_num_threads(2)  # the fixture sets it back
    two = functions(x, right, None, None, 300), functions(x, functions.pack(by_column(right)), None, None, 300)
    assert all(map(torch.equal, one, two))


def test_what_is_no_number_is_kept() -> None:
    x = torch.tensor([[1.0, float("nan")], [float("inf"), 1.0]])
    found = direct.load(torch.float32)(x, torch.eye(2), None, None, 2)
    assert found.isnan().tolist() == [[True, True], [False, True]]  # inf * 0 is no number


def test_the_memory_of_a_prepared_call_lives_as_long_as_the_call() -> None:
    result = torch.empty(2, 3)
    call = direct.load(torch.float32).into(result, torch.full((2, 4), 2.0), torch.full((4, 3), 3.0))
    call()
    assert result.tolist() == [[24.0] * 3] * 2


@pytest.mark.parametrize(("compiler", "reason"), [("", "no C compiler was found"), ("false", "can't build direct.c")])
def test_without_a_working_compiler_the_reason_is_told(
    compiler: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: compiler or None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    direct._loaded.cache_clear()
    with pytest.raises(Unavailable, match=reason):
        direct.load(torch.float32)
    assert direct.available() == []
    assert list((tmp_path / "rnnbench").iterdir()) == []
    direct._loaded.cache_clear()


def test_code_is_built_anew_after_an_edit_of_its_source_or_of_a_header(tmp_path: Path) -> None:
    source, header = tmp_path / "some.c", tmp_path / "some.h"
    keys = []
    for text, included in (("1", "1"), ("2", "1"), ("2", "2")):
        source.write_text(text)
        header.write_text(included)
        keys.append((direct.build_key(source, ()), direct.source_key(source)))
    assert len({key for key, _ in keys}) == len({checksum for _, checksum in keys}) == len(keys)
