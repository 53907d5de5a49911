"""The members of reached classes that code may take: by their names, or as foreign code takes them."""

import builtins
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

# Metaclasses that keep no list of their classes by which code finds them.
PLAIN_METACLASSES = ("type", "ABCMeta", "EnumType", "EnumMeta", "_ProtocolMeta", "FunctionMeta", "_TensorMeta")
MAKES_MEMBERS = ("EnumType", "EnumMeta")  # of what the class has
PLAIN_BASES = ("object", "Generic", "Protocol")  # whose `__init_subclass__` keeps none
# Where classes come from that take no member of their children by a name that they make, as `visit_` + NAME.
PLAIN_PACKAGES = {"builtins", "abc", "typing", "typing_extensions", "collections", "torch", "enum", "contextlib"}
# What Python and libraries take of any object.
TAKEN_OF_ALL = {"read", "readline", "write", "flush", "close", "keys", "fileno", "seek", "tell", "reset_parameters"}
NO_CODE = {"__dict__", "__weakref__", "__doc__", "__annotations__", "__annotate_func__", "__module__", "__qualname__"}


def is_registered(kind: type) -> bool:
    """Return True if a class's metaclass or a base is called with it, and so may keep it where a name leads to it."""
    if type(kind).__name__ not in PLAIN_METACLASSES:
        return True
    return any("__init_subclass__" in vars(base) for base in kind.__mro__[1:] if base.__name__ not in PLAIN_BASES)


class ReachedClasses:
    """The classes that a case may use, and the names by which code takes their members."""

    def __init__(self) -> None:
        self._classes: dict[type, tuple[str, dict[str, Any]]] = {}  # file, and names of the module
        self._by_others: dict[type, set[str]] = {}  # names that foreign bases of a class or of its children have
        self._whole = set[type]()
        self._names = set[str]()
        self._takes_all = False
        self._taken = set[tuple[type, str]]()

    def add(
        self,
        each: type,
        of: type,
        file: str,
        variables: dict[str, Any],
        path_in_tree: Callable[..., str],
        *,
        is_decorated: bool,
    ) -> None:
        """Add a class of the tree that is among the bases of another, `of`."""
        self._classes[each] = file, variables
        foreign = [base for base in of.__mro__ if base is not object and not path_in_tree(_module_of(base))]
        self._by_others.setdefault(each, set()).update(*map(vars, foreign))
        is_plain = type(each).__name__ not in MAKES_MEMBERS and all(map(_is_plain, foreign))
        if is_decorated or not is_plain or is_registered(each):
            self._whole.add(each)

    def add_whole(self, kind: type) -> None:
        """Count all members of a class if it is reached."""
        self._whole.add(kind)

    def take(self, names: Set[str]) -> None:
        """Take the members of these names."""
        self._names |= names

    def take_all(self) -> None:
        """Take all members: code takes some by names that are made at run time."""
        self._takes_all = True

    def newly_taken(self) -> Iterator[tuple[str, str, dict[str, Any], Any]]:
        """Yield the members that were not taken before: file, part, names of the module, and value."""
        for each, (file, variables) in [*self._classes.items()]:
            for name, value in [*vars(each).items()]:
                if (each, name) not in self._taken and name not in NO_CODE and self._is_taken(each, name):
                    self._taken.add((each, name))
                    yield file, f"{each.__qualname__}.{_as_written(each, name)}", variables, value

    def _is_taken(self, each: type, name: str) -> bool:
        if self._takes_all or name.startswith("__") or each in self._whole or _as_written(each, name) != name:
            return True
        return name in self._names or name in self._by_others[each] or name in TAKEN_OF_ALL


def _is_plain(base: type) -> bool:
    return str(base.__module__).partition(".")[0] in PLAIN_PACKAGES


def _as_written(kind: type, name: str) -> str:
    """Return the name of a member in the text of its class, without the prefix of private names."""
    prefix = f"_{kind.__name__.lstrip('_')}__"
    return f"__{name.removeprefix(prefix)}" if name.startswith(prefix) else name


def _module_of(kind: type) -> Mapping[str, Any]:
    return vars(sys.modules.get(str(kind.__module__), builtins))
