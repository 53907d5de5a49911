"""Which statements of a module do nothing but bind a name, as far as their text tells.

Such a statement counts only for code that uses the name. A statement of which this can't be proved counts for all code
that imports the module.
"""

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NEVER_TRUE = ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING")  # while a module is imported
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = FUNCTIONS | ast.ClassDef
IMPORTS = ast.Import | ast.ImportFrom
# Decorators, by the last part of their names, that return a function or hold it, and hand it to nobody else. Any other
# may keep it where it is found by a name: `torch.library.custom_op`, say.
KEEP_TO_THEMSELVES = {
    *("property", "cached_property", "setter", "getter", "deleter", "staticmethod", "classmethod", "wraps"),
    *("abstractmethod", "overload", "override", "final", "cache", "lru_cache", "contextmanager", "total_ordering"),
    *("dataclass", "no_grad", "inference_mode", "enable_grad", "compile", "jaxtyped", "typechecked"),
    *("runtime_checkable", "export", "ignore", "unused", "skip", "skipif", "parametrize", "fixture"),
}
OF_PROPERTIES = {"setter", "getter", "deleter"}  # of a property of the same class
# Names of a module that others read to describe it. Any other name with two underscores has a meaning of its own.
DESCRIPTIONS = {
    *("__all__", "__version__", "__version_info__", "__author__", "__email__", "__license__", "__copyright__"),
    *("__credits__", "__maintainer__", "__status__", "__date__", "__title__", "__url__", "__uri__", "__summary__"),
    *("__description__", "__docformat__", "__contact__"),
}


def foreign_names(node: ast.stmt) -> set[str] | None:
    """Return the names that must not be the tree's own if a statement is to do nothing but bind; None if it does more.

    A function of the tree that is used as a decorator, say, may keep what it decorates. A name with attributes,
    `a.b`, may also be that of a module of the tree that has the attribute.
    """
    if isinstance(node, FUNCTIONS):
        return _joined([*map(names_in_decorator, node.decorator_list), _of_signature(node.args, node.returns)])
    if isinstance(node, ast.ClassDef):
        if node.keywords:  # a metaclass, or arguments of `__init_subclass__`
            return None
        bases = (names_in_type(each) for each in node.bases if not _is_dotted(each))
        return _joined([*map(names_in_decorator, node.decorator_list), *bases, _of_body(node)])
    if isinstance(node, ast.Assign):
        targets = [each for target in node.targets for each in _bound(target)]
        return names_in_value(node.value) if all(targets) else None
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        value = set[str]() if node.value is None else names_in_value(node.value)
        return _joined([value, names_in_type(node.annotation)])
    return None


def bound_names(node: ast.stmt) -> tuple[str, ...]:
    """Return the names that such a statement binds."""
    if isinstance(node, DEFINITIONS):
        return (node.name,)
    if isinstance(node, ast.Assign):
        return tuple(name for target in node.targets for name in _bound(target))
    return (node.target.id,) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ()


def _bound(target: ast.expr) -> list[str]:
    """Return the names of a target; an empty one stands for a target that is not a name."""
    if isinstance(target, ast.Tuple | ast.List):
        return [name for each in target.elts for name in _bound(each)]
    return [target.id if isinstance(target, ast.Name) else ""]


def names_bound_often(tree: ast.Module) -> set[str]:
    """Return the names to which a module may bind unlike things, and those that hide one of Python's own."""
    return {name for name, by in bindings(tree).items() if len(by) > 1} | {*dir(builtins)}


def bindings(tree: ast.Module) -> Mapping[str, set[Any]]:
    """Return what binds each name of a module: a statement's node, or the module and member that are imported."""
    by_name = defaultdict[str, set[Any]](set)
    for name, by in _all_bound(tree.body):
        by_name[name].add(by)
    return by_name


def has_meaning(name: str) -> bool:
    """Return True if Python reads a name of a module, such as `__getattr__`."""
    return name.startswith("__") and name.endswith("__") and name not in DESCRIPTIONS


def _all_bound(body: Iterable[ast.stmt]) -> Iterable[tuple[str, Any]]:
    """Yield each name that statements, or a function's `global`, may bind, and what binds it."""
    nodes: list[ast.AST] = [*body]
    for node in nodes:
        if isinstance(node, DEFINITIONS):
            yield node.name, node
            yield from ((name, each) for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names)
            continue
        if isinstance(node, IMPORTS):
            yield from imported_names(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id, node
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, node
        nodes += ast.iter_child_nodes(node)


def imported_names(node: ast.Import | ast.ImportFrom) -> Iterable[tuple[str, tuple[str, str]]]:
    """Yield each name that an import binds, with the module, and the member of it that is taken, if one is."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield alias.asname or alias.name, (module_of(node), alias.name)
        else:
            top = alias.name.partition(".")[0]
            yield alias.asname or top, (alias.name if alias.asname else top, "")


def module_of(node: ast.ImportFrom) -> str:
    """Return the module that a statement imports from, with a point for each level."""
    return "." * node.level + (node.module or "")


def _of_signature(arguments: ast.arguments, returns: ast.expr | None) -> set[str] | None:
    """Return the names that must be foreign if defaults and annotations only make values; None if they may do more."""
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    defaults = [each for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None]
    types = [each for each in (*(each.annotation for each in every), returns) if each is not None]
    return _joined([*map(names_in_value, defaults), *map(names_in_type, types)])


def _of_body(node: ast.ClassDef) -> set[str] | None:
    """Return the names that must be foreign if the body of a class only binds members; None if it may do more.

    It may do more if it uses a member, such as a function that it calls.
    """
    names = _joined(foreign_names(each) for each in node.body if not is_idle(each))
    members = {name for name, _ in _all_bound(node.body)}
    if names is None or not members.isdisjoint(name.partition(".")[0] for name in names):
        return None
    return names


def runs_body(definition: ast.AST) -> bool:
    """Return True if the body of a class does more than to bind members, and so may run some of them."""
    return any(isinstance(node, ast.ClassDef) and _of_body(node) is None for node in ast.walk(definition))


def is_idle(node: ast.stmt) -> bool:
    """Return True for `pass` and for a constant by itself, such as a docstring."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def names_in_decorator(node: ast.expr) -> set[str] | None:
    """Return the names that must be foreign if a decorator keeps what it decorates to itself; None if it may not."""
    function = node.func if isinstance(node, ast.Call) else node
    name = last_name(function)
    if name not in KEEP_TO_THEMSELVES:
        return None
    if name in OF_PROPERTIES and isinstance(function, ast.Attribute):
        return set()
    arguments = [*node.args, *(each.value for each in node.keywords)] if isinstance(node, ast.Call) else []
    return _joined([_root(function), *map(names_in_value, arguments)])


def names_in_value(node: ast.expr) -> set[str] | None:
    """Return the names that must be foreign if an expression only makes a value; None if it may do more."""
    if isinstance(node, ast.Name):
        return set()
    if isinstance(node, ast.Attribute):
        return _root(node)
    inner: Sequence[ast.expr | None] = ()
    if isinstance(node, ast.Tuple | ast.List):
        inner = node.elts
    elif isinstance(node, ast.Lambda):
        inner = [*node.args.defaults, *node.args.kw_defaults]
    elif isinstance(node, ast.Dict) and all(key is not None and _is_constant(key) for key in node.keys):
        inner = node.values  # a key calls its `__hash__`
    elif not _is_constant(node):
        return None
    return _joined(names_in_value(each) for each in inner if each is not None)


def names_in_type(node: ast.expr) -> set[str] | None:
    """Return the names that must be foreign if the expression of a type does nothing; None if it may do something."""
    if isinstance(node, ast.Subscript):
        return _joined([_root(node.value), names_in_type(node.slice)])
    if isinstance(node, ast.Tuple | ast.List):
        return _joined(map(names_in_type, node.elts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _joined([names_in_type(node.left), names_in_type(node.right)])
    return set() if isinstance(node, ast.Constant) or _is_dotted(node) else None


def _is_constant(node: ast.expr) -> bool:
    kinds = ast.Constant | ast.UnaryOp | ast.BinOp | ast.Tuple | ast.Set | ast.operator | ast.unaryop | ast.expr_context
    return all(isinstance(each, kinds) for each in ast.walk(node))


def _is_dotted(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_dotted(node.value))


def _root(node: ast.expr) -> set[str] | None:
    """Return the first name of `a.b.c`; None for anything else, and for names that may load a module when asked."""
    while isinstance(node, ast.Attribute):
        if node.attr.startswith("_"):
            return None
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else None


def _joined(every: Iterable[set[str] | None]) -> set[str] | None:
    names = set[str]()
    for each in every:
        if each is None:
            return None
        names |= each
    return names


def last_name(node: ast.AST) -> str:
    """Return the last part of the name of what is called or taken, such as `no_grad`; empty if it is computed."""
    named = node.func if isinstance(node, ast.Call) else node
    if isinstance(named, ast.Attribute):
        return named.attr
    return named.id if isinstance(named, ast.Name) else ""


def may_register(definition: ast.AST) -> bool:
    """Return True if a decorator of a definition, or within a class, may hand the function or class to others."""
    every = (node for node in ast.walk(definition) if isinstance(node, DEFINITIONS))
    decorators = (decorator for node in every for decorator in node.decorator_list)
    return any(last_name(decorator) not in KEEP_TO_THEMSELVES for decorator in decorators)


def never_runs(node: ast.stmt) -> bool:
    """Return True for `if __name__ == "__main__"` and `if TYPE_CHECKING`, which no import runs."""
    return isinstance(node, ast.If) and not node.orelse and ast.unparse(node.test) in NEVER_TRUE
