"""The code under test: how it is found, which files of it were used, and what of it a case may run.

A case may run what building and calling it ran, and all that this code names. A function that no call has run yet
counts, too, if a function that ran names it: a slow path at the fiftieth call, say. What can't be followed is told as a
doubt, and the case is timed.
"""

import ast
import builtins
import gc
import hashlib
import inspect
import os
import sys
import sysconfig
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch

from rnnbench.cells import file_of, is_own
from rnnbench.harness.protocol import Reply
from rnnbench.project import module_folders, nearest_project
from rnnbench.store.metrics import COMPILED
from rnnbench.workloads.phases import Loading
from rnnbench.workloads.prepare import Built

# Modules that can't be under test; they would be most of the data sent.
LEFT_OUT = sys.stdlib_module_names | {"torch", "__main__", "__mp_main__"}
INSTALLED = (*{sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")}, "/proc/")
HARNESS = os.path.join("rnnbench", "harness", "")  # noqa: PTH118 - what measures is no part of a case
SITE_FOLDERS = {"site-packages", "dist-packages"}
ATOMS = {type(None), bool, int, float, complex, str, bytes, CodeType, torch.dtype, torch.device, torch.Size}
# Code that uses one of these, as a name or an attribute, may run any code of the tree.
DYNAMIC = {
    "__globals__",
    "__import__",
    "__subclasses__",
    "_getframe",
    "import_module",
    "run_module",
    "run_path",
    "spec_from_file_location",
}
RUNS_ANY = {"eval", "exec", "globals", "sys.modules", *DYNAMIC, *(f".{name}" for name in DYNAMIC)}
STATEMENTS = "<module>"  # the part of a file that has its statements outside of functions
STARTS_PROCESS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec")
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

Variables = dict[str, Any]  # the names of a module
# The statements of a file outside of functions, or an outermost function or class: a digest; names, as `NAME`, or
# `NAME.ATTRIBUTE` if one is taken of it, or `.ATTRIBUTE` of anything; modules, and the members that are taken of them.
CodePart = tuple[str, set[str], set[tuple[str, tuple[str, ...]]]]
# The functions that ran, by code and names of its module: both, with the arguments and free variables.
Ran = dict[tuple[int, int], tuple[CodeType, Variables, list[Any]]]


class UsedFiles:
    """Tells each imported module once, and each file or library that Python code opens, but for installed packages."""

    def __init__(self) -> None:
        self._told: set[str] = set()  # names of modules and absolute paths
        self._opened: dict[str, None] = {}

    def watch(self) -> None:
        """Note which files are opened from now on, for the rest of the process's life."""
        sys.addaudithook(self._note)

    def new(self) -> dict[str, Any]:
        """Return what was used since the last call: the modules `imported` with their files, and the files `opened`."""
        imported, opened, self._opened = {}, [*self._opened], {}
        for name, module in list(sys.modules.items()):
            if name in self._told or name.partition(".")[0] in LEFT_OUT or not isinstance(module, ModuleType):
                continue
            self._told.add(name)
            # Bypasses the module's own `__getattr__`: reading an attribute of a lazy module would import it.
            file = object.__getattribute__(module, "__dict__").get("__file__")
            if isinstance(file, str):
                imported[name] = str(Path(file).absolute())
        self._told.update(opened)
        return {"imported": imported, "opened": opened}

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "ctypes.dlopen") and isinstance(arguments[0], str | bytes | os.PathLike):
            file = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100 - the current folder may change later
            # Python writes bytecode under another name first: mine.cpython-311.pyc.1234
            is_bytecode = f"{os.sep}__pycache__{os.sep}" in file
            if file not in self._told and not file.startswith(INSTALLED) and not is_bytecode:
                self._opened[file] = None


class UserModules(MetaPathFinder):
    """Makes the modules that suites name importable, and the files beside them.

    `mine.cells:Cell` comes from the current folder, or from its project, if there is such a module there or in their
    `src/`. The folder of a cell's file or of a named module goes to the end of the import path, for the imports of that
    file or module.
    """

    def __init__(self, current: Path | None) -> None:
        """`current`: the current folder, or None if nothing may be imported from it."""
        folders = [] if current is None else module_folders(current, nearest_project(current))
        self._folders = [str(folder) for folder in folders]
        self._named: dict[str, str] = {}  # a module that a suite has named -> the folder that it is in
        sys.meta_path.insert(0, self)

    def add(self, cell: str, root: Path) -> None:
        """Make a cell importable; a file's path is relative to `root`, the folder of the suite."""
        target, folder = file_of(cell), ""
        name = target.partition(".")[0]
        if is_own(cell) and target.endswith(".py"):
            folder = str((root / target).resolve().parent)
        elif is_own(cell) and name not in sys.stdlib_module_names:
            found = (folder for folder in self._folders if PathFinder.find_spec(name, [folder]))
            folder = self._named[name] = next(found, "")
        if folder and folder not in sys.path:
            sys.path.append(folder)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Python's protocol for finders; returns None for modules that this finder does not handle."""
        folder = self._named.get(fullname)
        return PathFinder.find_spec(fullname, [folder]) if folder else None


class Tracer:
    """Follows the code of one tree while the functions of a context run."""

    def __init__(self, tree: str) -> None:
        self.tree = os.path.realpath(tree) + os.sep
        self.doubts = set[str]()  # about all cases
        self._ran: Ran | None = None
        self._doubts = self.doubts  # about what runs now
        sys.addaudithook(self._audit)

    @contextmanager
    def following(self, doubts: set[str]) -> Iterator[Ran]:
        """Follow what runs within the context, in the threads that it starts, too; add to the `doubts` about it."""
        self._doubts, self._ran = doubts, {}
        before, of_threads = sys.gettrace(), threading.gettrace()
        threading.settrace(self._follow)
        sys.settrace(self._follow)  # which traces no lines: a third of what a profile's function costs
        try:
            yield self._ran
        finally:
            sys.settrace(before)
            threading.settrace(of_threads)
            self._ran = None  # which lets the arguments of its functions go

    def own(self, variables: Mapping[str, Any], code: CodeType | None = None) -> str:
        """Return the path below the tree of the file of a module or function; empty if it is not the tree's own.

        A function that was made from a text belongs to the module that made it.
        """
        file = "<module>" if code is None else code.co_filename
        return _below(self.tree, str(variables.get("__file__") or "") if file.startswith("<") else file)

    def _follow(self, frame: FrameType, event: str, _argument: object) -> None:
        code, variables, ran = frame.f_code, frame.f_globals, self._ran
        place = id(code), id(variables)
        if event != "call" or ran is None or place in ran or not code.co_flags & inspect.CO_OPTIMIZED:
            return  # statements of a module or class count as the module's
        if self.own(variables, code):
            ran[place] = code, variables, [*frame.f_locals.values()]

    def _audit(self, event: str, _arguments: object) -> None:
        if self._ran is not None and event in STARTS_PROCESS:
            self._doubts.add("a process is started")


@cache
def _below(tree: str, file: str) -> str:
    path = os.path.realpath(file) if file.startswith(os.sep) else ""
    within = path.removeprefix(tree) if path.startswith(tree) else ""
    return "" if within.startswith(HARNESS) or SITE_FOLDERS & set(within.split(os.sep)) else within  # noqa: PTH206


def reach(tracer: Tracer, build: Callable[[], Built | Loading]) -> Reply:
    """Build a case and call it twice; return what it may run."""
    with tracer.following(tracer.doubts) as building:
        built = build()
        timed = built.timed_call()
    is_compiled = built.case.implementation in COMPILED
    # In place of compiled code its functions run, so that they are seen.
    stance = torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
    doubts = set[str]()
    with stance, closing(timed), timed.mode(), tracer.following(doubts) as calling:
        for call in ("first", "second"):
            timed.renew(call)
            timed.call()
    found = CaseCode(tracer, doubts, whole_modules=is_compiled)
    found.follow(calling, [built, timed])
    if found.may_run_any:
        doubts.add("it may run any code, by a name made at run time")
    found.follow(building, [])  # which is the same each time, so that what it runs by any name has been seen
    frames: Any = sys.modules.get("torch._dynamo.utils")
    if not is_compiled and frames is not None and frames.counters["frames"]:
        doubts.add("it compiles itself")
    return {"code": sorted(found.code), "doubts": sorted(tracer.doubts | doubts)}


class CaseCode:
    """The parts of the tree's files that a case may run, each with a digest."""

    def __init__(self, tracer: Tracer, doubts: set[str], *, whole_modules: bool) -> None:
        """Doubts are added to `doubts`; `whole_modules`: count all of each module that the case imports."""
        self._tracer, self._doubts, self._is_whole = tracer, doubts, whole_modules
        self._todo: list[Any] = []
        self._seen: dict[int, Any] = {}  # keeps what was seen, so that no other object gets its address
        self._added = set[Any]()  # modules, and parts of files
        self._unloaded: dict[str, Variables] = {}  # module that a later call may import -> all that is known
        self.code: set[str] = set()
        self.may_run_any = False

    def follow(self, ran: Ran, objects: Sequence[Any]) -> None:
        """Add all that functions that ran, and objects, lead to."""
        for code, variables, values in ran.values():
            self._add_code(code, variables)
            self._todo += values
        self._todo += objects
        while self._todo:
            self._visit(self._todo.pop())

    def _visit(self, value: Any) -> None:
        kind = type(value)
        if kind in ATOMS or id(value) in self._seen or value is sys.modules:
            return
        self._seen[id(value)] = value
        if isinstance(value, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self._doubts.add("it is a TorchScript module")
        elif kind is FunctionType:
            self._add_code(value.__code__, value.__globals__)
            # Also of functions that are not the tree's: a decorator of torch holds the function that it wraps.
            self._todo += [value.__defaults__, value.__kwdefaults__, vars(value), *(value.__closure__ or ())]
        elif isinstance(value, ModuleType):
            self._add_module(vars(value), is_whole=True)
        elif isinstance(value, type):
            for each in value.__mro__:
                variables = vars(sys.modules.get(str(each.__module__), builtins))
                if self._tracer.own(variables):
                    self._add_module(variables)
                    self._todo += [type(each), *vars(each).values()]
        elif not (kind is dict and "__builtins__" in value):  # the names of a module
            self._todo += [kind, *gc.get_referents(value)]

    def _add_code(self, code: CodeType, variables: Variables) -> None:
        """Add the outermost function or class that code of the tree is in."""
        if file := self._tracer.own(variables, code):
            self._add_module(variables)
            self._add_part(file, code.co_qualname.partition(".")[0], variables)

    def _add_module(self, variables: Variables, *, is_whole: bool = False) -> None:
        """Add a module's statements and those of its packages, or all of it."""
        file, is_whole = self._tracer.own(variables), is_whole or self._is_whole
        if not file or (id(variables), is_whole) in self._added:
            return
        self._added.add((id(variables), is_whole))
        self._add_import(str(variables["__name__"]).rpartition(".")[0], is_function="__spec__" not in variables)
        for name in _parts(self._tracer.tree + file) if is_whole else [STATEMENTS]:
            self._add_part(file, name, variables)
        if is_whole:
            self._todo += [value for value in variables.values() if not isinstance(value, ModuleType)]

    def _add_part(self, file: str, name: str, variables: Variables) -> None:
        """Add a part of a file, what it names, and what it imports."""
        parts = _parts(self._tracer.tree + file)
        if name not in parts or (file, name, id(variables)) in self._added:
            return
        self._added.add((file, name, id(variables)))
        digest, names, imports = parts[name]
        self.code.add(f"{file}:{name} {digest}")
        for first, _, attribute in (use.partition(".") for use in names):
            value = variables.get(first, getattr(builtins, first, None))
            # A module as a whole, if no attribute is taken of it or if it makes this one when it is asked.
            is_from_module = attribute and isinstance(value, ModuleType)
            self._todo.append(vars(value).get(attribute, value) if is_from_module else value)
        is_function = name != STATEMENTS or "__spec__" not in variables  # a function imports what is not loaded
        self.may_run_any |= not RUNS_ANY.isdisjoint(names)
        package = variables.get("__package__")
        for module, members in imports:
            if package or not module.startswith("."):  # a file by itself has no package, and imports for types alone
                self._add_import(resolve_name(module, package), members, is_function=is_function)

    def _add_import(self, name: str, members: Sequence[str] = (), *, is_function: bool = False) -> None:
        """Add a module that is imported; what a function imports, it may use as a whole."""
        module = sys.modules.get(name)
        if isinstance(module, ModuleType):
            self._add_module(vars(module), is_whole=is_function)
            for member in members:
                if isinstance(vars(module).get(member, module), ModuleType):
                    self._add_import(f"{name}.{member}", is_function=is_function)
        elif is_function and (spec := _spec(name)) is not None:
            names = {"__name__": name, "__package__": spec.parent, "__file__": spec.origin}
            self._add_module(self._unloaded.setdefault(name, names), is_whole=True)


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module is that is not loaded; unlike importlib's function, this loads no package to find out."""
    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent) or (_spec(parent) if parent else None)
    places = getattr(package, "__path__", getattr(package, "submodule_search_locations", None))
    return PathFinder.find_spec(name, places or ()) if parent else PathFinder.find_spec(name)


@cache
def _parts(file: str) -> dict[str, CodePart]:
    """Return the parts of a file, which is one part if it is not Python's; comments and docstrings do not count."""
    content = Path(file).read_bytes()
    tree = ast.parse(content) if file.endswith(".py") else ast.Constant(content)
    outermost = defaultdict[str, list[ast.AST]](list)  # several of one name: overloads, and those of branches
    nodes: list[ast.AST] = [tree]
    for node in nodes:
        if isinstance(node, DEFINITIONS):
            outermost[node.name].append(node)
        else:
            nodes += ast.iter_child_nodes(node)
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS | ast.Module) and ast.get_docstring(node) is not None:
            del node.body[0]
    found = {name: _part(definitions) for name, definitions in outermost.items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return found | {STATEMENTS: _part([tree])}


def _part(nodes: Sequence[ast.AST]) -> CodePart:
    names, imports = set[str](), set[tuple[str, tuple[str, ...]]]()
    has_attribute = set[ast.AST]()  # names of which an attribute is taken; `walk` comes to the attribute first
    for node in (each for top in nodes for each in ast.walk(top)):
        if isinstance(node, ast.Attribute):
            names.add(f".{node.attr}")
            if isinstance(node.value, ast.Name):
                has_attribute.add(node.value)
                names.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Name) and node not in has_attribute:
            names.add(node.id)
        elif isinstance(node, ast.Import):
            imports |= {(alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members = tuple(alias.name for alias in node.names)
            names.update(f".{member}" for member in members)
            imports.add(("." * node.level + (node.module or ""), members))
    text = "\n".join(map(ast.dump, nodes)).encode(errors="surrogatepass")
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()[:16], names, imports
