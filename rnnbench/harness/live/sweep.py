"""Live modules over sizes: the work of `rnnbench.sweep(...)`."""

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from rnnbench.adapt.contract import parameters_of
from rnnbench.cells.weights import copy_weights
from rnnbench.harness.live.arms import arms_of, reference_of
from rnnbench.harness.live.measuring import MeasuredModules, measure
from rnnbench.harness.turns.progress import Progress
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words

Sizes = dict[str, Any]  # name -> value, `phase` and `threads` included
FIXED = ("phase", "threads")


@dataclass(frozen=True)
class SweptPoint:
    """The result at one combination of sizes."""

    sizes: Sizes
    found: MeasuredModules | None  # None if it failed
    reason: str = ""  # why it failed


def sweep(
    modules: Mapping[str, Any],
    input: Callable[..., object],
    axes: Mapping[str, Sequence[Any]],
    reference: str | None,
    settings: Settings,
    shown_of: Callable[[int, int], Callable[[Progress], None]],
) -> Iterator[SweptPoint]:
    """Measure the modules at each combination of `axes`, of which `phase` and `threads` are two.

    `modules`: modules and functions, or what builds them: a class or function whose parameters are all sizes. A module
    that is built gets the weights of the reference, if its parameters fit. `input`: what makes the input from the
    sizes that it names. `shown_of(number, points)` shows a point's replicates. The budget of `settings` is for all
    points. A point that fails has the reason; Ctrl-C ends the sweep after the finished replicates of a point. Raises
    ValueError or TypeError if the arguments do not fit together.
    """
    _check(modules, input, axes)
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    budget = settings.budget_seconds
    deadline = None if budget is None else time.monotonic() + budget
    for number, sizes in enumerate(points):
        left = None if deadline is None else max(0.001, (deadline - time.monotonic()) / (len(points) - number))
        own = settings.model_copy(update={"budget_seconds": left})
        try:
            made = _all_built(modules, sizes, reference)
            given, show = _called(input, sizes), shown_of(number, len(points))
            found = measure(made, given, sizes["phase"], reference, own, sizes["threads"], show)
        except KeyboardInterrupt:
            if not number:
                raise
            return
        except Exception as error:  # whatever a stranger's module raises
            yield SweptPoint(sizes, None, error_in_words(error))  # the other points are measured
            continue
        yield SweptPoint(sizes, found)
        if found.interrupted:
            return


def _all_built(modules: Mapping[str, Any], sizes: Mapping[str, Any], reference: str | None) -> dict[str, Any]:
    """The modules at these sizes; those that are built get the weights of the reference, if their parameters fit."""
    made = {name: _called(each, sizes) if _builds(each, sizes) else each for name, each in modules.items()}
    like = made[reference_of(arms_of(made, ()), reference)]
    for name, module in made.items():
        if module is not modules[name] and module is not like and isinstance(like, nn.Module):
            with suppress(ValueError):  # other parameters: then its parity says that outputs differ
                copy_weights(module, like)
    return made


def _builds(module: Any, sizes: Mapping[str, Any]) -> bool:
    """Whether this builds a module: a class or function, all of whose parameters are sizes."""
    if isinstance(module, nn.Module) or not callable(module):
        return False
    names = _names(module)
    return bool(names) and names <= set(sizes) - set(FIXED)


def _called(function: Callable[..., Any], sizes: Mapping[str, Any]) -> Any:
    names = _names(function)
    return function(**{name: value for name, value in sizes.items() if name in names})


def _names(function: Callable[..., object]) -> set[str]:
    """The parameters of a function without a default; empty if they can't be read, as of some built-in ones."""
    parameters = parameters_of(function).values()
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return {each.name for each in named if each.default is inspect.Parameter.empty}


def _check(modules: Mapping[str, Any], input: Callable[..., object], axes: Mapping[str, Sequence[Any]]) -> None:
    if not callable(input):
        raise TypeError(
            f"input: expected a function that makes it from the sizes, such as lambda batch_size, seq_len: ...; "
            f"found {type(input).__name__}"
        )
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
            raise TypeError(f"{name}: expected a list of values, at least one, found {values!r}")
    sizes = set(axes) - set(FIXED)
    if strange := sorted(_names(input) - sizes):
        raise ValueError(f"input: needs {strange[0]}, but the sizes are {', '.join(sorted(sizes)) or 'none'}")
    used = _names(input) | {name for module in modules.values() if _builds(module, axes) for name in _names(module)}
    if idle := sorted(sizes - used):
        raise ValueError(f"{idle[0]}: neither the input nor a module depends on it")
