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
        self.error: Exception | None = None  # that compiling raises
        self.scale = 1.0  # of outputs; any other value stands for a fault of this machine
        self.changes: Callable[[Tensor], Tensor] = lambda outputs: outputs  # by another fault of this machine
        self.calls = 0

    def compile(self, unit: CodeUnit, way: str, input: Tensor, state: Sequence[Tensor], file: Path) -> Package:
        """Stand for `compile_package`."""
        if self.error is not None:
            raise self.error
        token = f"package {len(self.made)}"
        self.made[token] = _Lifted(unit), [_form(tensor) for tensor in (input, *state, *unit.tensors().values())]
        file.write_text(token, encoding="utf-8")
        return Package(file.stem, 2.0, frozenset())

    def run_package(self, file: Path) -> kept_code.RunPackage:
        """Stand for `run_package`."""
        token = file.read_text(encoding="utf-8")
        lifted, forms = self.made[token]

        def run(input: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor]) -> Sequence[Tensor]:
            found = [_form(tensor) for tensor in (input, *state, *weights)]
            assert found == forms
            assert not torch.is_grad_enabled()
            self.calls += 1
            outputs, *final = lifted(input, tuple(state), tuple(weights))
            return [self.changes(self.scale * outputs), *final]

        return run


def _form(tensor: Tensor) -> Form:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


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
