"""A stand-in for torch's packages of compiled code, which runs the unit as plain Python.

It is as unkind as compiled code, or more: that reads another memory where a tensor has other strides or another shape,
and knows nothing of the module; this raises, and finds the unit by what its file says.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnbench.speedup.kept import code as kept_code
from rnnbench.speedup.kept import packages, saving
from rnnbench.speedup.kept.packages import CodeUnit, Package, _Lifted
from rnnbench.workloads import compiled

Form = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class FakeCompiler:
    """Makes packages, and loads them while it is installed."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[_Lifted, list[Form]]] = {}
        self.any_batch_in: dict[str, int | None] = {}  # of each package: the dimension of the batch, if it may be any
        self.error: Exception | None = None  # that compiling raises
        self.error_of_any_batch: Exception | None = None  # that it raises if the batch may have any size
        self.scale = 1.0  # of outputs; any other value stands for a fault of this machine
        self.changes: Callable[[Tensor], Tensor] = lambda outputs: outputs  # by another fault of this machine
        self.calls = 0

    def compile(
        self,
        unit: CodeUnit,
        way: str,
        input: Tensor,
        state: Sequence[Tensor],
        file: Path,
        any_batch_in: int | None = None,
    ) -> Package:
        """Stand for `compile_package`."""
        if self.error is not None:
            raise self.error
        if self.error_of_any_batch is not None and any_batch_in is not None:
            raise self.error_of_any_batch
        token = f"package {len(self.made)}"
        self.any_batch_in[token] = any_batch_in
        self.made[token] = _Lifted(unit), [_form(tensor) for tensor in (input, *state, *unit.tensors())]
        file.write_text(token, encoding="utf-8")
        return Package(file.stem, 2.0, frozenset())

    def run_package(self, file: Path) -> kept_code.RunPackage:
        """Stand for `run_package`."""
        token = file.read_text(encoding="utf-8")
        lifted, forms = self.made[token]
        batch_in = self.any_batch_in[token]

        def run(input: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> Sequence[Tensor]:
            found = [_form(tensor) for tensor in (input, *state, *weights)]
            if batch_in is None:
                assert found == forms
            else:
                assert_alike(found, forms, [batch_in, *[1] * len(state)])
            assert not torch.is_grad_enabled()
            self.calls += 1
            outputs, *final = lifted(input, tuple(state), tuple(weights))
            return [self.changes(self.scale * outputs), *final]

        return run


def _form(tensor: Tensor) -> Form:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def assert_alike(found: Sequence[Form], forms: Sequence[Form], batch_dims: Sequence[int]) -> None:
    """Check tensors for code of any batch size: one size of 2 and more for all, in order, and all else as it was."""
    count = len(batch_dims)
    assert found[count:] == forms[count:]
    sizes = set()
    for (shape, strides, dtype), (expected, _, expected_dtype), dim in zip(found, forms, batch_dims):  # noqa: B905
        sizes.add(shape[dim])
        assert (shape, dtype) == ((*expected[:dim], shape[dim], *expected[dim + 1 :]), expected_dtype)
        assert strides == torch.empty(shape).stride()
    [size] = sizes
    assert size >= 2


@contextmanager
def installed(patch: pytest.MonkeyPatch) -> Iterator[FakeCompiler]:
    """Put the stand-in in the place of torch's compiler and loader."""
    fake: Any = FakeCompiler()
    with patch.context() as inner:
        inner.setattr(saving, "compile_package", fake.compile)
        inner.setattr(packages, "compile_package", fake.compile)
        inner.setattr(kept_code, "run_package", fake.run_package)
        inner.setattr(compiled, "check", lambda device: None)
        yield fake
