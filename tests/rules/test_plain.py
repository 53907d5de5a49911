"""The code is plain: one statement a line, short functions, constants first, and no fact read out of a sentence."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .places import (
    MAX_PARTICIPLES,
    MAX_SHARED_CONSTANTS,
    PARTICIPLES,
    participles,
    shared_constants,
)
from .places import package_files as files
from .test_layout import PACKAGE, modules, parsed

MAX_LINES = 60  # of a function, without its docstring
MANY = 8  # parameters
MAX_WITH_MANY = 0.007  # of all functions, without those whose parameters are options of users
MAX_SEVERAL = 15  # assignments of several names at once, in 1,000 statements, without swaps
MAX_THREE = 1.7  # of three names or more, without `_`: gates, shapes, parts of a text
MAX_LONG_CONDITIONALS = 10  # conditional expressions over several lines, in all of the package
FACTS = re.compile(r"\b(parity|sentence|reason|notes?|subject|answer|told)(\[[^\]]*\])?$")
READERS = {"startswith", "endswith", "partition", "rpartition", "split", "removeprefix", "removesuffix"}
# Where what another program or the user's own code has said is cut to a line.
MAY_READ = {"slurm/queue.py", "store/parity.py", "store/notes.py"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for name, tree in files():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{name}:{node.lineno} {node.name}", node


def lines_of(function: Function) -> int:
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return lines
    return lines - ((first.end_lineno or 0) - first.lineno + 1)


def parameters_of(function: Function) -> list[str]:
    given = function.args
    names = [
        each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if each
    ]
    return [name for name in names if name not in ("self", "cls")]


def is_for_users(place: str) -> bool:
    """Return True for a command, and for a function of `import rnnbench` or a fixture of pytest."""
    return place.startswith(("cli/", "api/", "pytest_plugin/"))


def test_a_function_fits_one_screen() -> None:
    assert {place: lines for place, each in functions() if (lines := lines_of(each)) > MAX_LINES} == {}


def test_hardly_a_function_has_many_parameters_but_those_whose_options_users_set() -> None:
    every = list(functions())
    with_many = [place for place, each in every if len(parameters_of(each)) >= MANY and not is_for_users(place)]
    assert len(with_many) <= MAX_WITH_MANY * len(every), with_many


def names_at_once(node: ast.stmt) -> int:
    """Return how many names an assignment sets at once; 1 for a swap."""
    if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple)):
        return 1
    names = [ast.unparse(each) for each in node.targets[0].elts]
    if isinstance(node.value, ast.Tuple) and sorted(map(ast.unparse, node.value.elts)) == sorted(names):
        return 1
    return sum(name != "_" for name in names)


def test_one_statement_sets_one_name() -> None:
    statements = [node for _, tree in files() for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    docstrings = sum(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in statements)
    several = [names_at_once(node) for node in statements]
    of_1000 = (len(statements) - docstrings) / 1000
    assert sum(number > 1 for number in several) / of_1000 <= MAX_SEVERAL
    assert sum(number > 2 for number in several) / of_1000 <= MAX_THREE


def test_a_tuple_on_the_left_is_one_value_that_has_parts() -> None:
    """Values that have nothing to do with each other are set one by one, however short that is."""
    squeezed = []
    for name, tree in files():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)):
                continue
            if isinstance(node.targets[0], ast.Tuple) and names_at_once(node) > 1:
                targets = node.targets[0].elts
                uses = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
                depends = any(isinstance(each, ast.Name) and each.id in uses for each in targets)
                is_plain = all(isinstance(each, ast.Name | ast.Attribute) for each in targets)
                if is_plain and not depends and len(targets) == len(node.value.elts):
                    squeezed.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert squeezed == []


def test_a_conditional_expression_fits_one_line() -> None:
    """A longer one is an `if` with two branches."""
    long = [
        f"{name}:{node.lineno}"
        for name, tree in files()
        for node in ast.walk(tree)
        if isinstance(node, ast.IfExp) and node.end_lineno != node.lineno
    ]
    assert len(long) <= MAX_LONG_CONDITIONALS, long


def set_by(node: ast.stmt) -> list[str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
    return [each.id for each in targets if isinstance(each, ast.Name)]


def test_constants_come_first_but_for_those_that_need_what_the_module_defines() -> None:
    late = []
    for name, tree in files():
        defined: set[str] = set()
        for node in tree.body:
            if isinstance(node, Function | ast.ClassDef):
                defined.add(node.name)
            elif defined and (names := set_by(node)):
                used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)} - {*names}
                if used & defined:
                    defined |= {*names}
                elif names[0].isupper():
                    late.append(f"{name}:{node.lineno} {names[0]}")
            elif defined and not isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign):  # a loop, or a condition
                defined |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    assert late == []


def test_hardly_an_identifier_is_a_participle() -> None:
    """`found` says how a thing was come by and not what it is: a module, a match, a row."""
    numbers = Counter(place.name for place in participles())
    assert {word: number for word, number in numbers.items() if number > PARTICIPLES[word]} == {}
    assert numbers.total() <= MAX_PARTICIPLES


def test_hardly_a_name_stands_for_several_constants() -> None:
    shared = shared_constants()
    assert len(shared) <= MAX_SHARED_CONSTANTS, {name: [place.module for place in shared[name]] for name in shared}


def test_no_module_is_named_as_its_room_or_nearly_as_another_of_it() -> None:
    names = Counter(Path(name).stem for name, _ in files())
    assert names["cases"] <= 1
    for name, _ in files():
        path = Path(name)
        assert len(path.parts) > 2 or path.stem != path.parent.name, name
        assert not (PACKAGE / path.parent / f"{path.stem}s.py").exists(), name


def test_no_fact_is_read_out_of_a_sentence() -> None:
    """Not what is said of outputs, notes, reasons and answers: the kind and the numbers are asked."""
    read = []
    for name, tree in files():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
                value = ast.unparse(node.func.value).removesuffix(".str")
                if FACTS.search(value) and name not in MAY_READ:
                    read.append(f"{name}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
                where = ast.unparse(node.comparators[0])
                is_text = isinstance(node.left, ast.Constant | ast.JoinedStr) or ast.unparse(node.left).isupper()
                if is_text and FACTS.search(where):
                    read.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert read == []


def test_what_the_page_says_to_add_to_is_there() -> None:
    """Every `NAME` in `path.py` of its table is set in that file."""
    text = (PACKAGE.parent / "docs" / "how-it-is-built.md").read_text()
    table = text[text.index("## To add something") : text.index("## Words of the code")]
    told = re.findall(r"`(\w+)`(?: and its row of `(\w+)`)? (?:in|of) `([\w/]+\.py)`", table)
    assert len(told) > 15
    for *names, file in told:
        tree = parsed(PACKAGE / file)
        there = {name for node in tree.body for name in set_by(node)}
        there |= {node.name for node in ast.walk(tree) if isinstance(node, Function | ast.ClassDef)}
        there |= {
            each.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for each in node.targets
            if isinstance(each, ast.Name)
        }
        there |= {name for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) for name in set_by(node)}
        assert {*filter(None, names)} <= there, file


def imported_at_once(file: Path) -> set[str]:
    """Every module that the import of a file imports itself: not in a function, and not for types alone."""
    names: set[str] = set()
    todo: list[ast.stmt] = [*parsed(file).body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            todo += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            todo += node.body
    return names


def loaded_with(module: str) -> dict[str, str]:
    """Every module that is loaded with one of the package, and which module loads it."""
    known = modules()
    loaded = {module: ""}
    todo = [module]
    while todo:
        name = todo.pop()
        packages = {name.rpartition(".")[0]} - {""}
        for used in (imported_at_once(known[name]) | packages) if name in known else ():
            if used not in loaded:
                loaded[used] = name
                todo.append(used)
    return loaded


@pytest.mark.parametrize("module", ["rnnbench.api.stored", "rnnbench.plot", "rnnbench.results"])
def test_stored_runs_and_their_figures_need_no_torch(module: str) -> None:
    loaded = loaded_with(module)
    chain = [next((name for name in loaded if name.split(".")[0] in ("torch", "torchinfo")), "")]
    while chain[-1]:
        chain.append(loaded[chain[-1]])
    assert chain == [""]
