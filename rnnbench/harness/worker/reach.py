"""Find the code that a case may run: what building and calling it ran, and all that this code names.

A function that no call has run yet counts, too, if a function that ran names it: a slow path at the fiftieth call, say.
What can't be followed is told as a doubt, and the case is timed.
"""

import ast
import builtins
import gc
import hashlib
import inspect
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch

from rnnbench.harness.protocol import Reply
from rnnbench.harness.worker.guard import running_threads
from rnnbench.store.metrics import COMPILED
from rnnbench.workloads.loading import Loading
from rnnbench.workloads.prepare import Built

MAX_OBJECTS = 200_000  # that a case may hold; more are not looked through
HARNESS = os.path.join("rnnbench", "harness", "")  # noqa: PTH118 - what measures is no part of a case
INSTALLED = {"site-packages", "dist-packages"}
ATOMS = {type(None), bool, int, float, complex, str, bytes, CodeType, torch.dtype, torch.device, torch.Size}
# A function that uses one of these may run any code of the tree.
RUNS_ANY = {"__globals__", "__import__", "__subclasses__", "_getframe", "import_module", "run_module", "run_path"}
RUNS_ANY |= {"spec_from_file_location"}
RUNS_ANY_USES = {("eval",), ("exec",), ("globals",), ("sys", "modules")}
STATEMENTS = "<module>"  # the part of a file that has its statements outside of functions
STARTS_PROCESS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec")
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Trace:
    """The functions of a tree that ran: by code and names of its module, the arguments and free variables."""

    ran: dict[tuple[int, int], tuple[CodeType, dict[str, Any], list[Any]]] = field(default_factory=dict)
    doubts: dict[str, None] = field(default_factory=dict)


class Tracer:
    """Follows the code of one tree while the functions of a context run."""

    def __init__(self) -> None:
        self.doubts: dict[str, None] = {}  # about all cases
        self.imported: dict[str, list[dict[str, Any]]] = defaultdict(list)  # file -> names of modules it let import
        self._tree = ""  # ends with a separator; empty before the first request
        self._trace = Trace()
        self._is_on = False
        self._threads = running_threads()
        sys.addaudithook(self._audit)

    @contextmanager
    def following(self, tree: str) -> Iterator[Trace]:
        """Follow what runs within the context."""
        self._tree, self._trace, self._is_on = os.path.realpath(tree) + os.sep, Trace(), True
        before, of_threads = sys.gettrace(), threading.gettrace()
        threading.settrace(self._in_thread)
        sys.settrace(self._follow)  # which traces no lines: a third of what a profile's function costs
        try:
            yield self._trace
        finally:
            sys.settrace(before)
            threading.settrace(of_threads)
            self._trace, self._is_on = Trace(), False  # which lets the arguments of its functions go

    def keeps_threads(self) -> bool:
        """Return True if a thread of Python runs that did not run when this was made."""
        return bool(running_threads() - self._threads)

    def path(self, own: str) -> Path:
        """Return the path of an own file."""
        return Path(self._tree + own)

    def own(self, variables: Mapping[str, Any], code: CodeType | None = None) -> str:
        """Return the path below the tree of the file of a module or function; empty if it is not the tree's own.

        A function that was made from a text belongs to the module that made it.
        """
        file = "<module>" if code is None else code.co_filename
        return _own(self._tree, str(variables.get("__file__") or "") if file.startswith("<") else file)

    def _follow(self, frame: FrameType, event: str, _argument: object) -> None:
        code, variables = frame.f_code, frame.f_globals
        place = id(code), id(variables)
        if event != "call" or place in self._trace.ran or not self.own(variables, code):
            return
        if code.co_name == "<module>":
            importer = frame.f_back
            while importer is not None and not (file := self.own(importer.f_globals, importer.f_code)):
                importer = importer.f_back
            if importer is not None:
                self.imported[file].append(variables)
        elif code.co_flags & inspect.CO_OPTIMIZED:  # not a class's statements, which count as its module's
            self._trace.ran[place] = code, variables, [*frame.f_locals.values()]

    def _in_thread(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._is_on and event == "call" and self.own(frame.f_globals, frame.f_code):
            self._trace.doubts["code runs in another thread"] = None

    def _audit(self, event: str, _arguments: object) -> None:
        if self._is_on and event in STARTS_PROCESS:
            self._trace.doubts["a process is started"] = None


@cache
def _own(tree: str, file: str) -> str:
    path = os.path.realpath(file) if tree and file.startswith(os.sep) else ""
    within = path.removeprefix(tree) if path.startswith(tree) else ""
    return "" if within.startswith(HARNESS) or INSTALLED & set(within.split(os.sep)) else within  # noqa: PTH206


def reach(tracer: Tracer, tree: str, build: Callable[[], Built | Loading]) -> Reply:
    """Build a case and call it twice; return what it may run."""
    with tracer.following(tree) as building:
        built = build()
        timed = built.timed_call()
    is_compiled = built.case.implementation in COMPILED
    # In place of compiled code its functions run, so that they are seen.
    stance = torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
    with stance, timed.mode(), tracer.following(tree) as calling:
        for call in ("first", "second"):
            timed.renew(call)
            timed.call()
    found = CaseCode(tracer, whole_modules=is_compiled)
    found.follow(calling, [built, timed])
    may_run_any = found.may_run_any
    found.follow(building, [])  # which is the same each time, so that what it runs by any name has been seen
    tracer.doubts |= building.doubts
    doubts = [*(tracer.doubts | calling.doubts | found.doubts)]
    frames: Any = sys.modules.get("torch._dynamo.utils")
    for is_doubtful, doubt in (
        (may_run_any, "it may run any code, by a name made at run time"),
        (tracer.keeps_threads(), "it keeps a thread"),
        (not is_compiled and frames is not None and frames.counters["frames"], "it compiles itself"),
    ):
        doubts += [doubt] if is_doubtful else []
    timed.end()
    return {"ok": True, "code": sorted(found.code), "doubts": doubts}


class CaseCode:
    """The parts of the tree's files that a case may run, each with a digest."""

    def __init__(self, tracer: Tracer, *, whole_modules: bool) -> None:
        """`whole_modules`: count all of each module that the case imports."""
        self._tracer = tracer
        self._is_whole = whole_modules
        self._todo: list[Any] = []
        self._seen: dict[int, Any] = {}  # keeps what was seen, so that no other object gets its address
        self._modules: set[tuple[int, bool]] = set()
        self._unloaded: dict[str, dict[str, Any]] = {}  # module that a later call may import -> all that is known
        self._parts: set[tuple[str, str, int]] = set()
        self.code: set[str] = set()
        self.doubts: dict[str, None] = {}
        self.may_run_any = False

    def follow(self, trace: Trace, objects: Sequence[Any]) -> None:
        """Add all that a trace and objects lead to."""
        for code, variables, values in trace.ran.values():
            self._add_code(code, variables)
            self._todo += values
        self._todo += objects
        while self._todo and len(self._seen) <= MAX_OBJECTS:
            self._visit(self._todo.pop())
        if self._todo:
            self.doubts[f"it holds more than {MAX_OBJECTS:,} objects"] = None

    def _visit(self, value: Any) -> None:
        kind = type(value)
        if kind in ATOMS or id(value) in self._seen or value is sys.modules:
            return
        self._seen[id(value)] = value
        if isinstance(value, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self.doubts["it is a TorchScript module"] = None
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

    def _add_code(self, code: CodeType, variables: dict[str, Any]) -> None:
        """Add the outermost function or class that code of the tree is in."""
        if file := self._tracer.own(variables, code):
            if code.co_name == "<lambda>":  # which may stand among a module's statements
                self.may_run_any |= bool({*code.co_names} & (RUNS_ANY | {use[-1] for use in RUNS_ANY_USES}))
            self._add_module(variables)
            self._add_part(file, code.co_qualname.partition(".")[0], variables)

    def _add_module(self, variables: dict[str, Any], *, is_whole: bool = False) -> None:
        """Add a module's statements and those of its packages, or all of it."""
        file, key = self._tracer.own(variables), (id(variables), is_whole or self._is_whole)
        if not file or key in self._modules:
            return
        self._modules.add(key)
        self._add_import(str(variables["__name__"]).rpartition(".")[0], is_function="__spec__" not in variables)
        for imported in self._tracer.imported.get(file, ()):
            self._add_module(imported)
        _, is_whole = key
        for name in parts(self._tracer.path(file)) if is_whole else [STATEMENTS]:
            self._add_part(file, name, variables)
        if is_whole:
            self._todo += [value for value in variables.values() if not isinstance(value, ModuleType)]

    def _add_part(self, file: str, name: str, variables: dict[str, Any]) -> None:
        """Add a part of a file, what it names, and what it imports."""
        part = parts(self._tracer.path(file)).get(name)
        if part is None or (key := (file, name, id(variables))) in self._parts:
            return
        self._parts.add(key)
        self.code.add(f"{file}:{name} {part.digest}")
        for first, *attribute in part.uses:
            value = variables.get(first, getattr(builtins, first, None))
            # A module as a whole, if no attribute is taken of it or if it makes this one when it is asked.
            is_from_module = attribute and isinstance(value, ModuleType)
            self._todo.append(vars(value).get(attribute[0], value) if is_from_module else value)
        is_function = name != STATEMENTS or "__spec__" not in variables  # a function imports what is not loaded
        self.may_run_any |= is_function and bool(part.names & RUNS_ANY or part.uses & RUNS_ANY_USES)
        package = variables.get("__package__")
        for module, members in part.imports:
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


@dataclass(frozen=True)
class CodePart:
    """The statements of a file outside of functions, or an outermost function or class: a digest, and what it names."""

    digest: str
    uses: frozenset[tuple[str, ...]] = frozenset()  # names, with the attribute that is taken of them, if one is
    names: frozenset[str] = frozenset()  # attributes, too
    imports: frozenset[tuple[str, tuple[str, ...]]] = frozenset()  # a module, and the members that are taken of it


@cache
def parts(path: Path) -> dict[str, CodePart]:
    """Return the parts of a file, which is one part if it is not Python's; comments and docstrings do not count."""
    if path.suffix != ".py":
        return {STATEMENTS: CodePart(_digest(path.read_bytes()))}
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            del node.body[0]
    definitions = defaultdict[str, list[ast.AST]](list)  # several of one name: overloads, and those of branches
    for definition in _outermost(tree):
        definitions[definition.name].append(definition)
    found = {name: _part(nodes) for name, nodes in definitions.items()}
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            node.body = []
    return found | {STATEMENTS: _part([tree])}


def _outermost(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS | ast.ClassDef):
            yield child
        else:
            yield from _outermost(child)


def _part(nodes: Sequence[ast.AST]) -> CodePart:
    uses, names, imports = set[tuple[str, ...]](), set[str](), set[tuple[str, tuple[str, ...]]]()
    has_attribute = set[ast.AST]()  # names of which an attribute is taken; `walk` comes to the attribute first
    for node in (each for top in nodes for each in ast.walk(top)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
            if isinstance(node.value, ast.Name):
                has_attribute.add(node.value)
                uses.add((node.value.id, node.attr))
        elif isinstance(node, ast.Name) and node not in has_attribute:
            names.add(node.id)
            uses.add((node.id,))
        elif isinstance(node, ast.Import):
            imports |= {(alias.name, ()) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members = tuple(alias.name for alias in node.names)
            names.update(members)
            imports.add(("." * node.level + (node.module or ""), members))
    text = "\n".join(map(ast.dump, nodes))
    return CodePart(_digest(text.encode(errors="surrogatepass")), frozenset(uses), frozenset(names), frozenset(imports))


def _digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:16]
