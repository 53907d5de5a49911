"""Where an identifier of the package is a participle, and where one name stands for several constants.

`python -m tests.rules.places` prints the numbers by room, `python -m tests.rules.places ROOM` the places in one.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from .test_layout import PACKAGE, parsed

# Words that say nothing of what a thing is, and the most times that each may stand for one, in all of the package.
PARTICIPLES = {
    "own": 10,
    "known": 10,
    "found": 8,
    "drawn": 1,
    "given": 62,
    "shown": 9,
    "told": 4,
    "kept": 28,
    "made": 17,
    "left": 68,
    "read": 36,
    "asked": 16,
    "said": 2,
    "seen": 30,
    "taken": 59,
    "used": 33,
    "wanted": 63,
    "needed": 53,
    "chosen": 105,
    "held": 24,
}
MAX_PARTICIPLES = 610  # all of them together
VERBS = {"read"}  # also the name of functions: it counts only as the name of a value
MAX_SHARED_CONSTANTS = 25  # names of constants that several modules set


@dataclass(frozen=True)
class Place:
    """Where a name stands."""

    module: str  # the path below the package
    line: int
    name: str

    @property
    def room(self) -> str:
        return self.module.partition("/")[0] if "/" in self.module else "."

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.name}"


def package_files() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE).as_posix(), parsed(file)


@cache
def attributes() -> frozenset[str]:
    """Return the names of attributes and methods that classes of the package define."""
    names: set[str] = set()
    for _, tree in package_files():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names |= {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                names |= {
                    each.target.id
                    for each in node.body
                    if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
                }
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return frozenset(names)


def identifiers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every identifier of a module with its line: what it defines, and where it uses that."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                yield node.lineno, name
            case ast.Name(id=name) | ast.keyword(arg=str(name)) if name not in VERBS:
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if name not in VERBS:
                yield node.lineno, name
            case ast.Attribute(attr=name) if name in attributes() and name not in VERBS:
                yield node.lineno, name


def participles() -> list[Place]:
    """Return where an identifier is exactly one of PARTICIPLES, a leading underscore left out."""
    return [
        Place(module, line, name.strip("_"))
        for module, tree in package_files()
        for line, name in identifiers(tree)
        if name.strip("_") in PARTICIPLES
    ]


def constants() -> Iterator[Place]:
    """Yield where a module sets a constant."""
    for module, tree in package_files():
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and len(target.id) > 1:
                    yield Place(module, node.lineno, target.id)


def shared_constants() -> dict[str, list[Place]]:
    """Return the places of each name of a constant that several modules set."""
    places: dict[str, list[Place]] = {}
    for place in constants():
        places.setdefault(place.name, []).append(place)
    return {name: each for name, each in places.items() if len(each) > 1}


def print_numbers() -> None:
    """Print how many participles there are by word and by room, and how many constants share a name by room."""
    every = participles()
    for title, numbers in (
        ("participles by word", Counter(place.name for place in every)),
        ("participles by room", Counter(place.room for place in every)),
        (
            "constants that share a name by room",
            Counter(place.room for places in shared_constants().values() for place in places),
        ),
    ):
        print(f"{title}: {', '.join(f'{name} {number}' for name, number in numbers.most_common())}")
    print(f"participles: {len(every)}; names of several constants: {len(shared_constants())}")


def print_places(room: str) -> None:
    """Print every place in a room, or in a module."""
    for place in participles():
        if room in (place.room, place.module):
            print(place)
    for places in shared_constants().values():
        if any(room in (place.room, place.module) for place in places):
            print("; ".join(map(str, places)))


if __name__ == "__main__":
    if sys.argv[1:]:
        print_places(sys.argv[1])
    else:
        print_numbers()
