"""The parts of the tree's files that a case may run, found from what ran and from the objects that it holds."""

import builtins
import gc
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch

from rnnbench.harness.protocol import Doubt
from rnnbench.harness.worker.code_parts import IMPORT, STATEMENTS, CodePart, FileParts, Statement, digest_of, parts
from rnnbench.harness.worker.doubts import doubtful_objects, doubts_of_names
from rnnbench.harness.worker.only_binds import DEFINITIONS

# Metaclasses that keep no list of their classes by which code finds them.
PLAIN_METACLASSES = ("type", "ABCMeta", "EnumType", "EnumMeta", "_ProtocolMeta", "FunctionMeta", "_TensorMeta")
PLAIN_BASES = ("object", "Generic", "Protocol")  # whose `__init_subclass__` keeps none
ATOMS = {type(None), bool, int, float, complex, str, bytes, CodeType, torch.dtype, torch.device, torch.Size}
IMPORT_ORDER = "<imports>"  # the part that has the order of the modules that do more than to bind a name
OF_PYTHON = ("__builtins__", "__loader__", "__spec__")  # names in every module
NO_CODE = {"__dict__", "__weakref__", "__doc__", "__annotations__", "__annotate_func__", "__module__", "__qualname__"}
IS_TORCHSCRIPT = Doubt("code", "it is a TorchScript module")
HARMLESS = sys.stdlib_module_names - {"antigravity", "this", "readline", "rlcompleter", "site", "idlelib", "turtle"}

Variables = dict[str, Any]  # the names of a module
# The functions that ran, by code and names of its module: both, with the arguments and free variables.
Ran = dict[tuple[int, int], tuple[CodeType, Variables, list[Any]]]
Own = Callable[..., str]  # variables, and code or not -> the file below the tree; empty if it is not the tree's own


class CaseCode:
    """The parts of the tree's files that a case may run, each with a digest."""

    def __init__(self, tree: str, path_in_tree: Own, loaded: Iterable[str] = (), *, whole_modules: bool) -> None:
        """`tree`: with a slash at its end; `loaded`: modules that were there before any code of the tree was run.

        `whole_modules`: count all of each module that the case imports.
        """
        self._tree = tree
        self._path_in_tree = path_in_tree
        self._loaded = frozenset(loaded)
        self._is_whole = whole_modules
        self._todo: list[Any] = []
        self._seen: dict[int, Any] = {}  # keeps what was seen, so that no other object gets its address
        self._added = set[Any]()  # modules, and parts of files
        self._effects: dict[str, bool] = {}  # of a file: whether its statements do more than to bind a name
        self._unloaded: dict[str, Variables] = {}  # module that a later call may import -> all that is known
        self._doubtful = doubtful_objects()
        self.code: set[str] = set()
        self.files = set[str]()  # of all modules that it imports
        self.doubts = set[Doubt]()  # what can't be followed

    def follow(self, ran: Ran, objects: Sequence[Any]) -> None:
        """Add all that functions that ran, and objects, lead to."""
        for code, variables, values in ran.values():
            self._add_code(code, variables)
            self._todo += values
        self._todo += objects
        while self._todo:
            self._visit(self._todo.pop())

    def _parts(self, file: str) -> FileParts:
        return parts(self._tree + file)

    def _visit(self, value: Any) -> None:
        kind = type(value)
        if kind in ATOMS or id(value) in self._seen or value is vars(builtins):
            return
        self._seen[id(value)] = value
        if id(value) in self._doubtful:
            self.doubts |= self._doubtful[id(value)]
        elif isinstance(value, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self.doubts.add(IS_TORCHSCRIPT)
        elif kind is FunctionType:
            self._add_code(value.__code__, value.__globals__)
            # Also of functions that are not the tree's: a decorator of torch holds the function that it wraps.
            self._todo += [value.__defaults__, value.__kwdefaults__, vars(value)]
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            self._todo += [cell for name, cell in cells if name != "__class__"]  # its own class, for `super`
        elif isinstance(value, ModuleType):
            self._add_module(vars(value), is_whole=True)
        elif isinstance(value, type):
            for each in value.__mro__:
                if self._path_in_tree(_variables_of(each)):
                    self._add_class(each)
        elif not (kind is dict and "__builtins__" in value):  # the names of a module
            held = gc.get_referents(value)
            if kind is BuiltinFunctionType:  # which holds its module
                held = [each for each in held if not isinstance(each, ModuleType)]
            self._todo += [kind, *held]
            if issubclass(kind, weakref.ReferenceType):
                self._todo.append(value())
            elif issubclass(kind, weakref.ProxyType | weakref.CallableProxyType):
                with suppress(ReferenceError):  # what it stood for is gone
                    self._todo.append(value.__init__.__self__)

    def _add_class(self, each: type) -> None:
        """Add a class of the tree as a whole: which of its members code takes is not asked."""
        variables = _variables_of(each)
        self._add_outermost(self._path_in_tree(variables), each.__qualname__, variables)
        self._todo += [type(each), *(value for name, value in vars(each).items() if name not in NO_CODE)]

    def _add_code(self, code: CodeType, variables: Variables) -> None:
        """Add the outermost function or class that code of the tree is in."""
        if file := self._path_in_tree(variables, code):
            self._add_outermost(file, code.co_qualname, variables)

    def _add_outermost(self, file: str, qualified: str, variables: Variables) -> None:
        """Add the module's statements, and the outermost function or class with this qualified name, or around it."""
        self._add_module(variables)
        of_file = self._parts(file)
        first = qualified.partition(".")[0]
        for name in [first] if first in of_file.parts else of_file.lambdas:
            self._add_part(file, name, variables)

    def _add_module(self, variables: Variables, *, is_whole: bool = False) -> None:
        """Add a module's statements and those of its packages, or all of it."""
        file = self._path_in_tree(variables)
        is_whole = is_whole or self._is_whole
        if not file or (id(variables), is_whole) in self._added:
            return
        self._added.add((id(variables), is_whole))
        self.files.add(file)
        is_function = "__spec__" not in variables  # which imports what is not loaded
        self._add_import(str(variables["__name__"]).rpartition(".")[0], is_function=is_function)
        of_file = self._parts(file)
        for name in of_file.parts if is_whole else ():
            self._add_part(file, name, variables)
        for name in of_file.sources if is_whole else ():
            self._use(variables, name)
        self._add_statements(file, of_file, variables, is_whole=is_whole)
        self._add_imports(of_file.imports, variables, is_function=is_function)
        for value in [value for name, value in variables.items() if name not in OF_PYTHON]:
            is_found = isinstance(value, type) and value.__module__ == variables["__name__"] and is_registered(value)
            if is_found or (is_whole and not isinstance(value, ModuleType)):
                self._todo.append(value)

    def _add_statements(self, file: str, of_file: FileParts, variables: Variables, *, is_whole: bool) -> None:
        """Add the statements of a module that do more than to bind a name, or all of them."""
        doing = self._doing(of_file, variables, is_whole=is_whole)
        self._add_order(file, doing, variables)
        for statement in doing:
            self._follow(statement.code, file, STATEMENTS, variables)
            for registered in statement.registered:
                self._add_part(file, registered, variables)
                self._todo.append(variables.get(registered))

    def _doing(self, of_file: FileParts, variables: Variables, *, is_whole: bool = False) -> list[Statement]:
        """Return the imports of a module, and the statements that do more than to bind a name, or all of them."""
        return [
            each
            for each in of_file.statements
            if each.imports or is_whole or not self._only_binds(each, of_file, variables)
        ]

    def _add_order(self, file: str, doing: Sequence[Statement], variables: Variables) -> None:
        """Add what the statements of a module do, in their order, and imports of modules that do more than to bind."""
        if not any(statement.code.nodes for statement in doing):
            return
        order = list[str]()
        for statement in doing:
            order += sorted(self._with_effects(statement.imports, variables))
            if statement.code.nodes:
                order.append(statement.code.digest)
        self.code.add(f"{file}:{STATEMENTS} {digest_of(order)}")

    def _with_effects(self, imports: Iterable[tuple[str, tuple[str, ...]]], variables: Variables) -> set[str]:
        """Return the files that imports reach and whose statements do more than to bind a name."""
        todo = [*modules_of(imports, variables)]
        reached = dict[str, Variables]()
        for module in todo:
            file = self._path_in_tree(module)
            if file and file not in reached:
                reached[file] = module
                todo += modules_of(self._parts(file).imports, module)
        return {file for file, module in reached.items() if self._has_effects(file, module)}

    def _has_effects(self, file: str, variables: Variables) -> bool:
        if file not in self._effects:
            of_file = self._parts(file)
            self._effects[file] = any(each.code.nodes for each in self._doing(of_file, variables))
        return self._effects[file]

    def add_loaded(self) -> None:
        """Add what all modules of the tree do when they are imported, but for definitions, and their order.

        Another case of the worker may have imported them.
        """
        order = dict[str, None]()
        for module in [*sys.modules.values()]:
            file = self._path_in_tree(vars(module)) if isinstance(module, ModuleType) else ""
            if file and self._has_effects(file, vars(module)):
                order[file] = None
                self._add_effects(file, vars(module))
        if len(order) > 1:
            self.code.add(f"{min(order)}:{IMPORT_ORDER} {digest_of(order)}")
        self.follow({}, [])

    def _add_effects(self, file: str, variables: Variables) -> None:
        """Add what the statements of a module do, but for definitions, if the case does not import it."""
        if file in self.files:
            return
        doing = self._doing(self._parts(file), variables)
        self._add_order(file, doing, variables)
        for statement in doing:
            if not any(isinstance(node, DEFINITIONS) for node in statement.code.nodes):
                self._follow(statement.code, file, STATEMENTS, variables)

    def _only_binds(self, statement: Statement, of_file: FileParts, variables: Variables) -> bool:
        """Return True if a statement surely does nothing but bind its names."""
        if of_file.stars or statement.foreign is None:  # `import *` may bind the same names
            return False
        values = [variables.get(name) for name in statement.binds]
        if any(isinstance(value, type) and is_registered(value) for value in values):
            return False
        used = (variables.get(name, getattr(builtins, name, self)) for name in statement.foreign)
        return not any(map(self._is_own, used))

    def _is_own(self, value: Any) -> bool:
        """Return True if a value is a module, class or function of the tree, or something that may be."""
        if isinstance(value, ModuleType):
            return bool(self._path_in_tree(vars(value)))
        if isinstance(value, FunctionType):
            return bool(self._path_in_tree(value.__globals__, value.__code__))
        if type(value).__module__ == "typing":  # a variable of types, say, which is the module's that made it
            return False
        module = sys.modules.get(str(getattr(value, "__module__", None) or getattr(type(value), "__module__", None)))
        return value is self or module is None or bool(self._path_in_tree(vars(module)))

    def _add_part(self, file: str, name: str, variables: Variables) -> None:
        """Add a part of a file, what it names, and what it imports."""
        part = self._parts(file).parts.get(name)
        if part is None or (file, name, id(variables)) in self._added:
            return
        self._added.add((file, name, id(variables)))
        self.code.add(f"{file}:{name} {part.digest}")
        self._follow(part, file, name, variables)
        # A function imports what is not loaded.
        self._add_imports(part.imports, variables, is_function=True)

    def _follow(self, part: CodePart, file: str, name: str, variables: Variables) -> None:
        """Follow what a part of a file names."""
        names = part.names
        for use in names:
            if not use.startswith((".", "=")) and not use.endswith("="):
                first, *attributes = use.split(".")
                self._todo.append(self._use(variables, first, *attributes))
        is_function = name != STATEMENTS or "__spec__" not in variables
        self.doubts.update(doubts_of_names(names, part.imports if is_function else ()))

    def _use(self, variables: Variables, name: str, *attributes: str) -> Any:
        """Add the statements that bind a name of a module, and attributes of it that are modules; return the value."""
        self._add_binding(variables, name)
        value = variables.get(name, getattr(builtins, name, None))
        for attribute in attributes:
            if not isinstance(value, ModuleType) or attribute not in vars(value):
                break  # a module as a whole, if it makes what is taken of it when it is asked
            self._add_binding(vars(value), attribute)
            value = vars(value)[attribute]
        return value

    def _add_binding(self, variables: Variables, name: str) -> None:
        """Add what binds a name in a module: a definition, a value, or an import and what it imports."""
        file = self._path_in_tree(variables)
        if not file or (file, "binding", name, id(variables)) in self._added:
            return
        self._added.add((file, "binding", name, id(variables)))
        of_file = self._parts(file)
        package = variables.get("__package__")
        self._add_part(file, name, variables)
        sources = of_file.sources.get(name, set())
        if sources:
            self.code.add(f"{file}:{name} {digest_of(sorted(map(str, sources)))}")
        for module, member in sources:
            imported = _loaded(module, package)
            if imported is not None and member in vars(imported):
                self._add_binding(vars(imported), member)
        self._add_stars(of_file, name, variables)

    def _add_stars(self, of_file: FileParts, name: str, variables: Variables) -> None:
        """Add the modules of which all names are imported, this one among them, and what binds it there."""
        file = self._path_in_tree(variables)
        package = variables.get("__package__")
        modules = {star: _loaded(star, package) for star in of_file.stars}
        having = {star: module for star, module in modules.items() if module is not None and name in vars(module)}
        if having:
            self.code.add(f"{file}:{name} {digest_of(['*', *sorted(having)])}")
        for module in having.values():
            self._add_binding(vars(module), name)
            self._add_binding(vars(module), "__all__")

    def _add_imports(
        self, imports: Iterable[tuple[str, tuple[str, ...]]], variables: Mapping[str, Any], *, is_function: bool
    ) -> None:
        package = variables.get("__package__")
        for module, members in imports:
            if package or not module.startswith("."):  # a file by itself has no package, and imports for types alone
                self._add_import(resolve_name(module, package), members, is_function=is_function)

    def _add_import(self, name: str, members: Sequence[str] = (), *, is_function: bool = False) -> None:
        """Add a module that is imported; what a function imports, it may use as a whole."""
        module = sys.modules.get(name)
        if isinstance(module, ModuleType):
            self._add_module(vars(module), is_whole=is_function)
            if (
                not self._path_in_tree(vars(module))
                and name.partition(".")[0] not in HARMLESS
                and name not in self._loaded
            ):
                self.code.add(f"{name}:{IMPORT} {name}")
            for member in members:
                if isinstance(vars(module).get(member, module), ModuleType):
                    self._add_import(f"{name}.{member}", is_function=is_function)
        elif is_function and (spec := _spec(name)) is not None:
            names = {"__name__": name, "__package__": spec.parent, "__file__": spec.origin}
            self._add_module(self._unloaded.setdefault(name, names), is_whole=True)


def is_registered(kind: type) -> bool:
    """Return True if a class's metaclass or a base is called with it, and so may keep it where a name leads to it."""
    if type(kind).__name__ not in PLAIN_METACLASSES:
        return True
    return any("__init_subclass__" in vars(base) for base in kind.__mro__[1:] if base.__name__ not in PLAIN_BASES)


def _variables_of(kind: type) -> Variables:
    return vars(sys.modules.get(str(kind.__module__), builtins))


def _loaded(module: str, package: str | None) -> ModuleType | None:
    if module.startswith(".") and not package:
        return None
    imported = sys.modules.get(resolve_name(module, package))
    return imported if isinstance(imported, ModuleType) else None


def modules_of(imports: Iterable[tuple[str, tuple[str, ...]]], variables: Variables) -> Iterator[Variables]:
    """Yield the names of each loaded module that some imports take, with its packages."""
    package = variables.get("__package__")
    for module, members in sorted(imports):
        if module.startswith(".") and not package:
            continue
        full = resolve_name(module, package)
        parts = full.split(".")
        packages = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
        for name in (*packages, *(f"{full}.{member}" for member in members)):
            if isinstance(loaded := sys.modules.get(name), ModuleType):
                yield vars(loaded)


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module is that is not loaded; unlike importlib's function, this loads no package to find out."""
    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent) or (_spec(parent) if parent else None)
    places = getattr(package, "__path__", getattr(package, "submodule_search_locations", None))
    return PathFinder.find_spec(name, places or ()) if parent else PathFinder.find_spec(name)
