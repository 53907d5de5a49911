"""How a user's own class is built, and what it must do before its time means anything.

Each fault is reported in one line, with its cause. Expected is `cell(input, state) -> state` for one step, with
`input`: (batch, input) and each tensor of the state (batch, hidden); or `module(input, state) -> (outputs, state)` for
a whole sequence, with `input`: (seq, batch, input), `outputs`: (seq, batch, hidden) and each tensor of the state
(num_layers * directions, batch, hidden).
"""

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rnnbench.cells import CellError
from rnnbench.cells.states import State, dense_parts, leaves
from rnnbench.text import error_in_words, place

# Of trials: unlike, so that they can be told apart from each other and from the number of layers and directions.
TRIAL_LENGTH = 5
TRIAL_ROWS = 3
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
OF_STATES = re.compile(r"(?<![a-z])([hcs][xytsz]?|hiddens?|cells?|states?|carry|mem|memory|syn|prev|previous)(?![a-z])")
OF_OTHER_INPUTS = ("vocab_size", "num_embeddings", "num_tokens", "in_channels")  # of tokens, of frames
# What people call the arguments of a constructor, by what they mean.
ARGUMENT_NAMES: dict[str, tuple[str, ...]] = {
    "input_size": ("input_size", "input_dim", "in_features", "in_dim", "n_inputs", "d_in", *OF_OTHER_INPUTS),
    "hidden_size": ("hidden_size", "hidden_dim", "hidden_features", "units", "n_hidden", "d_hidden"),
    "output_size": ("output_size", "output_dim", "out_dim", "num_classes", "n_outputs", "d_out"),
    "batch_size": ("batch_size",),
}
MEANINGS = {name: meaning for meaning, names in ARGUMENT_NAMES.items() for name in names}
# Words in the names of other arguments that are sizes (`nin`, `d_model`, `hidden_width`), and in those of none.
OF_SIZES = re.compile(
    r"(?<![a-z])([abdhimnx]|[nd]?_?(in|out|hid|inp)|dims?|sizes?|widths?|features?|units?|channels?|neurons?|ch|"
    r"inputs?|outputs?|hiddens?|embed(ding)?|model|nodes?)(?![a-z])|size|dim|width|feat|hidden|channel"
)
OF_NO_SIZES = re.compile(r"drop|bias|prob|scal|layer|init|norm|kernel|rate|activ|heads|groups|steps|unfold|thresh|gain")


def parameters_of(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function by name; empty if they can't be read, as of some in C."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def is_of_state(name: str) -> bool:
    """Return whether an argument's name, such as `c`, `hx` or `prev_state`, says that it is a state."""
    return OF_STATES.search(name.lower()) is not None


def needed_after_input(function: Callable[..., object]) -> list[str]:
    """Return the names of the arguments without a default, except the first one."""
    parameters = list(parameters_of(function).values())[1:]
    named = (each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD))
    return [each.name for each in named if each.default is inspect.Parameter.empty]


def is_size(name: str) -> bool:
    """Return whether a constructor's argument, such as `n_in` or `width`, is named like a size of a tensor."""
    name = name.lower()
    return OF_NO_SIZES.search(name) is None and OF_SIZES.search(name) is not None


def construct(factory: Callable[..., Any], sizes: Mapping[str, Any], arguments: Mapping[str, Any]) -> nn.Module:
    """Return a module from its class, or from a function that builds it.

    `sizes`: the values of what ARGUMENT_NAMES names. Sizes go to the parameters with these names. Of the other
    parameters that are named like a size, the first two are the input size and the hidden size. `arguments`: those with
    a value that the user gives. Raises CellError if it can't be built.
    """
    name = getattr(factory, "__name__", type(factory).__name__)
    positional, keywords = _arguments(factory, name, sizes, arguments)
    try:
        module = factory(*positional, **keywords)
    except Exception as error:  # whatever a stranger's constructor raises
        call = _in_words(factory, positional, keywords)
        raise CellError(f"{call} can't be built: {error_in_words(error)}{place(error)}") from error
    if not isinstance(module, nn.Module):
        raise CellError(f"{name} builds {type(module).__name__}; expected a torch.nn.Module")
    if lazy := next((part for part, parameter in module.named_parameters() if is_lazy(parameter)), None):
        raise CellError(
            f"{name}: lazy modules are not accepted, and {lazy} has no shape yet; build it with its sizes, "
            "for example by nn.Linear(input_size, hidden_size)"
        )
    return module


def constructor_call(factory: Callable[..., Any], sizes: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Return the call by which `construct` builds a module, such as `Leaky(beta=0.9, hidden_size=8)`."""
    name = getattr(factory, "__name__", type(factory).__name__)
    return _in_words(factory, *_arguments(factory, name, sizes, arguments))


def _in_words(factory: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """Return a call of a constructor as Python; the values that only have positions get the names of parameters."""
    name = getattr(factory, "__name__", type(factory).__name__)
    positions = [key for key, parameter in parameters_of(factory).items() if parameter.kind in POSITIONAL]
    by_position = [f"{key}={value!r}" for key, value in zip(positions, positional, strict=False)]
    without_name = [repr(value) for value in positional[len(by_position) :]]
    by_keyword = [f"{key}={value!r}" for key, value in keywords.items()]
    return f"{name}({', '.join([*by_position, *without_name, *by_keyword])})"


def meanings_of(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return which size `construct` gives to each parameter of a constructor, such as `units`: `hidden_size`."""
    parameters = parameters_of(factory)
    positional = [parameter for parameter in parameters.values() if parameter.kind in POSITIONAL]
    may_be_sizes = [
        each for each in positional if not isinstance(each.default, bool | float | str | None) and is_size(each.name)
    ]
    meanings = {key: MEANINGS[key] for key in parameters if key in MEANINGS and key not in arguments}
    for size, parameter in zip(("input_size", "hidden_size"), may_be_sizes, strict=False):
        if size not in meanings.values() and parameter.name not in {*meanings, *arguments}:
            meanings[parameter.name] = size
    return meanings


def _arguments(
    factory: Callable[..., Any], name: str, sizes: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments; raises CellError if they do not fit the signature."""
    signature = inspect.signature(factory)
    parameters = signature.parameters
    positional = [parameter for parameter in parameters.values() if parameter.kind in POSITIONAL]
    meanings = meanings_of(factory, arguments)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    # As torch.nn.LSTM, whose signature is (*args, **kwargs).
    size_arguments = [sizes["input_size"], sizes["hidden_size"]] if takes_any and not positional else []
    lacking = [key for key, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    keywords = dict(arguments)
    for key, meaning in meanings.items():
        if key in lacking or meaning in ("input_size", "hidden_size"):
            keywords[key] = sizes[meaning]
    if isinstance(factory, type) and not (size_arguments or keywords):
        raise CellError(f"{name}{signature} takes no sizes; expected an input size and a hidden size")
    try:
        bound = signature.bind(*size_arguments, **keywords)
    except TypeError as error:
        remedy = "take it out of `arguments`"
        if lacks := [each for each in lacking if each not in keywords and parameters[each].kind not in VARIABLE]:
            values = ",".join(f"{each}=VALUE" for each in lacks)
            table = ", ".join(f"{each} = VALUE" for each in lacks)
            example = f"'{name}({values})', or in the sweep, arguments = {{{table}}}"
            remedy = f"give what it needs with its name, {example}"
        raise CellError(
            f"{name}{signature} can't be called with {', '.join(keywords) or 'no arguments'}: {error}; {remedy}"
        ) from None
    return bound.args, bound.kwargs


def seed(number: int) -> None:
    """Seed torch's random numbers on the CPU, and on CUDA if this process uses it.

    `torch.manual_seed` alone takes 5 to 30 ms while CUDA is not in use, since it keeps a stack for later. The flag that
    is read here asks no driver (as `is_available` does), after which no process could be forked from this one.
    """
    cuda: Any = torch.cuda  # untyped in torch
    if cuda.is_initialized():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def on_trial(module: nn.Module) -> nn.Module:
    """Return a copy of a module for calls that leave no traces in it; the module itself if it can't be copied.

    A copy's weights are one block of memory where the module's are: cuDNN would pack others anew in each call.
    """
    try:
        copied = copy.deepcopy(module)
    except Exception:  # whatever a stranger's code raises
        return module
    for part in copied.modules():
        if isinstance(part, nn.RNNBase):
            part.flatten_parameters()
    return copied


def shaken(module: nn.Module, *, in_other_mode: bool = False) -> nn.Module:
    """Return a copy of a module with larger values in its parameters and buffers, the same in each call."""
    trial = on_trial(module)
    if trial is not module:
        if in_other_mode:
            trial.train(not trial.training)
        seed(0)
        tensors = (*trial.parameters(), *trial.buffers())
        for part in (part for tensor in tensors for part in dense_parts(tensor.data)):
            if part.is_floating_point() or part.is_complex():
                part.add_(torch.rand_like(part))
    seed(0)
    return trial


def check_form(what: str, value: Any, like: State) -> None:
    """Raise CellError unless tensors have the structure, shapes, types and device of others, and finite values."""
    if form_of(value) != form_of(like):
        raise CellError(f"{what} is {form_of(value)}; expected {form_of(like)}")
    for tensor in leaves(value):
        check_finite(what, tensor)


def form_of(value: Any) -> str:
    """Return `float32 (3, 6)` for a tensor, `(float32 (3, 6), None)` for a pair."""
    if isinstance(value, tuple | list):
        return f"({', '.join(map(form_of, value))})"
    if not isinstance(value, Tensor):
        return type(value).__name__.removesuffix("Type")
    place = "" if value.is_cpu else f" on {value.device}"
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}{place}"


def check_finite(what: str, tensor: Tensor | None) -> None:
    """Raise CellError if a tensor has a value that is not finite."""
    if tensor is not None and not bool(tensor.isfinite().all()):
        raise CellError(f"{what} has {'NaN' if bool(tensor.isnan().any()) else 'infinite values'}")


def unchanged(call: Callable[..., Any], input: Tensor, state: State, name: str) -> Any:
    """Return the result of a call; raises CellError if the call changes its arguments in place."""
    tensors = (input, *leaves(state))
    before = [part.clone() for part in tensors]
    result = call(input, state)
    for index, (part, old) in enumerate(zip(tensors, before, strict=True)):
        if not torch.equal(part, old):
            what = "its input" if index == 0 else "the state that it is given"
            raise CellError(f"{name} changes {what} in place; the next call would get other numbers")
    return result
