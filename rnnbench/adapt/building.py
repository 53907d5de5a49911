"""Build other people's modules: what a class or function takes, and which argument of a constructor is which size."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from rnnbench.cells import CellError
from rnnbench.raised import line_of
from rnnbench.text import error_in_words

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters_of(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function by name; empty if they can't be read, as of some in C."""
    schema: Any = getattr(function, "schema", None)
    if schema is not None:  # of TorchScript: a copy has no signature, and a class's own names `self`
        return {
            each.name: inspect.Parameter(
                each.name,
                inspect.Parameter.KEYWORD_ONLY if each.kwarg_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=each.default_value if each.has_default_value() else inspect.Parameter.empty,
            )
            for each in schema.arguments
            if each.name != "self"
        }
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def needed_after_input(function: Callable[..., object]) -> list[str]:
    """Return the names of the arguments behind the first that have no default."""
    parameters = list(parameters_of(function).values())[1:]
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return [each.name for each in named if each.default is inspect.Parameter.empty]


OF_OTHER_INPUTS = ("vocab_size", "num_embeddings", "num_tokens", "in_channels")  # of tokens, of frames
# What people call the arguments of a constructor, by what they mean.
NAMES: dict[str, tuple[str, ...]] = {
    "input_size": ("input_size", "input_dim", "in_features", "in_dim", "n_inputs", "d_in", *OF_OTHER_INPUTS),
    "hidden_size": ("hidden_size", "hidden_dim", "hidden_features", "units", "n_hidden", "d_hidden"),
    "output_size": ("output_size", "output_dim", "out_dim", "num_classes", "n_outputs", "d_out"),
    "batch_size": ("batch_size",),
}
MEANINGS = {name: meaning for meaning, names in NAMES.items() for name in names}


def construct(
    factory: Callable[..., Any], sizes: Mapping[str, Any], arguments: Mapping[str, Any], more: Mapping[str, Any]
) -> nn.Module:
    """A module from its class, or from a function that builds it.

    `sizes`: the values for what `NAMES` means. Sizes go to the parameters with these names. The first two parameters
    without a value are the input size and the hidden size, whatever their names. `arguments`: those that the suite
    gives. `more`: further keyword arguments, which only some need. Raises CellError if it can't be built.
    """
    name = getattr(factory, "__name__", type(factory).__name__)
    given, named = _arguments(factory, name, sizes, arguments)
    try:
        module = factory(*given, **named, **more)
    except Exception as error:  # whatever a stranger's constructor raises
        shown = ", ".join([*map(repr, given), *(f"{key}={value!r}" for key, value in named.items())])
        raise CellError(f"{name}({shown}) can't be built: {error_in_words(error)}{_where(error)}") from error
    if not isinstance(module, nn.Module):
        raise CellError(f"{name} builds {type(module).__name__}; expected a torch.nn.Module")
    if lazy := next((part for part, parameter in module.named_parameters() if is_lazy(parameter)), None):
        raise CellError(
            f"{name}: lazy modules are not accepted, and {lazy} has no shape yet; build it with its sizes, "
            "for example by nn.Linear(input_size, hidden_size)"
        )
    return module


def _arguments(
    factory: Callable[..., Any], name: str, sizes: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the keyword arguments; raises CellError if they do not fit the signature."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a class in C
        return [sizes["input_size"], sizes["hidden_size"]], dict(arguments)
    parameters = signature.parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if unknown := [key for key in arguments if key not in parameters and not takes_any]:
        raise CellError(f"{name}{signature} has no argument {', '.join(unknown)}; take it out of `arguments`")
    positional = [parameter for parameter in parameters.values() if parameter.kind in POSITIONAL]
    may_be_sizes = [
        parameter for parameter in positional if not isinstance(parameter.default, bool | float | str | None)
    ]
    meanings = {key: MEANINGS[key] for key in parameters if key in MEANINGS and key not in arguments}
    for size, parameter in zip(("input_size", "hidden_size"), may_be_sizes, strict=False):
        if size not in meanings.values() and parameter.name not in {*meanings, *arguments}:
            meanings[parameter.name] = size
    given: list[Any] = []
    named = dict(arguments)
    if not positional and any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values()):
        given = [sizes["input_size"], sizes["hidden_size"]]  # as torch.nn.LSTM, whose signature is (*args, **kwargs)
    for parameter in parameters.values():
        is_needed = parameter.default is inspect.Parameter.empty
        meaning = meanings.get(parameter.name)
        if meaning is None or (not is_needed and meaning in ("output_size", "batch_size")):
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            given.append(sizes[meaning])
        else:
            named[parameter.name] = sizes[meaning]
    if isinstance(factory, type) and not (given or meanings or arguments):
        raise CellError(f"{name}{signature} takes no sizes; expected an input size and a hidden size")
    try:
        bound = signature.bind(*given, **named)
    except TypeError as error:
        lacking = (each.name for each in parameters.values() if each.default is each.empty and each.name not in named)
        lacks = next(lacking, "NAME")
        raise CellError(
            f"{name}{signature} can't be called with {', '.join(named) or 'no arguments'}: {error}; give what it needs "
            f"with its name, '{name}({lacks}=VALUE)', or in the sweep, arguments = {{{lacks} = VALUE}}"
        ) from None
    return list(bound.args), dict(bound.kwargs)


def _where(error: Exception) -> str:
    """` (file.py:12)`: where a stranger's constructor raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return line_of(frames[-1]) if len(frames) > 1 else ""  # a single one: the call itself failed
