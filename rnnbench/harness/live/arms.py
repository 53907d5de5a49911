"""Check the arguments of `rnnbench.measure` and split them into arms."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

WANTED = "a tensor, a tuple of arguments, or a mapping from each name to one of these"


@dataclass(frozen=True)
class Arm:
    """A module or a function, with the arguments of every call."""

    name: str
    run: Callable[..., object]
    args: tuple[Any, ...]

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of a module; empty for a function, whose parameters are unknown."""
        return list(self.run.parameters()) if isinstance(self.run, nn.Module) else []

    @property
    def is_torchs(self) -> bool:
        """Whether this is a recurrent layer or cell of torch.nn itself: a subclass is a user's own code."""
        return isinstance(self.run, nn.RNNBase | nn.RNNCellBase) and type(self.run).__module__.startswith("torch.nn.")


def arms_of(modules: Mapping[str, Callable[..., object]], inputs: object) -> dict[str, Arm]:
    """The arms by name; raises ValueError if names, modules and inputs do not fit together."""
    if not isinstance(modules, Mapping) or not all(isinstance(name, str) for name in modules):
        raise ValueError(
            "modules: expected a mapping from names to modules, such as {'mine': mine, 'torch': nn.LSTM(...)}"
        )
    if len(modules) < 2:
        raise ValueError(f"modules: expected two or more, to compare them; found {', '.join(modules) or 'none'}")
    if wrong := [name for name, module in modules.items() if not callable(module)]:
        raise ValueError(f"{wrong[0]}: expected a module or a function, found {type(modules[wrong[0]]).__name__}")
    if isinstance(inputs, Mapping) and set(inputs) != set(modules):
        raise ValueError(
            f"inputs: a mapping has the modules' names ({', '.join(modules)}), found {', '.join(map(str, inputs))}; "
            "an argument that is a mapping itself goes into a tuple"
        )
    own = inputs if isinstance(inputs, Mapping) else dict.fromkeys(modules, inputs)
    return {name: Arm(name, module, _arguments(own[name])) for name, module in modules.items()}


def reference_of(arms: Mapping[str, Arm], asked: str | None) -> str:
    """The name asked for, else that of the only layer or cell of torch.nn, else the first.

    Raises ValueError if no arm has the name that was asked for.
    """
    if asked is None:
        layers = [name for name, arm in arms.items() if arm.is_torchs]
        return layers[0] if len(layers) == 1 else next(iter(arms))
    if asked not in arms:
        raise ValueError(f"reference: no module {asked!r}; there are {', '.join(arms)}")
    return asked


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)


def _arguments(inputs: object) -> tuple[Any, ...]:
    if isinstance(inputs, tuple):
        return (inputs,) if hasattr(inputs, "_fields") else inputs  # a PackedSequence is one argument
    if isinstance(inputs, Tensor):
        return (inputs,)
    raise ValueError(f"inputs: expected {WANTED}, found {type(inputs).__name__}")
