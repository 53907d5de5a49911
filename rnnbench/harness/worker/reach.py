"""Find the code that a case may run: what building and calling it ran, and all that these functions name.

A function that no call has run yet counts, too, if a function that ran names it: a slow path at the fiftieth call, say.
What can't be followed is told as a doubt, and the case is timed.
"""

import builtins
import dis
import gc
import hashlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch

from rnnbench.harness.worker.guard import running_threads
from rnnbench.store.metrics import COMPILED
from rnnbench.workloads.loading import Loading
from rnnbench.workloads.prepare import Built

MAX_OBJECTS = 200_000  # that a case may hold; more are not looked through
HARNESS = os.path.join("rnnbench", "harness", "")  # noqa: PTH118 - what measures is no part of a case
INSTALLED = {"site-packages", "dist-packages"}
# Names in a body that show that it may use any function or class of its module.
OWN_NAME = {"getattr", "vars", "attrgetter", "methodcaller", "__dict__", "__subclasses__"}
ANY_NAME = {"exec", "eval", "globals", "locals", "__globals__", "_getframe"}  # imported ones, too
NAMED, LOCAL = ("LOAD_GLOBAL", "LOAD_NAME"), ("LOAD_FAST", "LOAD_DEREF")
ANY_MODULE = {"import_module", "__import__", "exec", "eval", "run_path", "run_module", "spec_from_file_location"}
ANY_ATTRIBUTE = ("__getattr__", "__getattribute__")
STARTS_PROCESS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec")


@dataclass(frozen=True)
class Ran:
    """A function that ran, and what it can use: its module's names, free variables, and the types of its arguments."""

    code: CodeType
    variables: dict[str, Any]
    values: list[Any]


@dataclass
class Trace:
    """The functions of a tree that ran."""

    ran: dict[tuple[int, int], Ran] = field(default_factory=dict)  # by the addresses of code and of its module's names
    doubts: dict[str, None] = field(default_factory=dict)


class Tracer:
    """Follows the code of one tree, in all threads, while the functions of a context run."""

    def __init__(self) -> None:
        self.tree = ""  # ends with a separator; empty before the first request
        self.imports: dict[str, Trace] = {}  # file of a module -> what its import ran
        self.edges: dict[str, set[str]] = {}  # file -> those that its functions imported by a name made at run time
        self._trace = Trace()
        self._modules: list[str] = []  # files that are being imported, the innermost last
        self._is_on = False
        self._threads = running_threads()
        sys.addaudithook(self._audit)

    @contextmanager
    def following(self, tree: str) -> Iterator[Trace]:
        """Follow what runs within the context."""
        self.tree, self._trace, self._is_on = os.path.realpath(tree) + os.sep, Trace(), True
        before, of_threads = sys.getprofile(), threading.getprofile()
        threading.setprofile(self._in_thread)
        sys.setprofile(self._follow)
        try:
            yield self._trace
        finally:
            sys.setprofile(before)
            threading.setprofile(of_threads)
            self._is_on = False
            self._modules.clear()

    def keeps_threads(self) -> bool:
        """Return True if a thread of Python runs that did not run when this was made."""
        return bool(running_threads() - self._threads)

    def own(self, file: str) -> str:
        """The path of a file below the tree; empty if it is not the tree's own."""
        return _own(self.tree, file)

    def file_of(self, code: CodeType, variables: Mapping[str, Any]) -> str:
        """The own file of a function; one that was made from a text belongs to the module that made it."""
        name = code.co_filename
        return self.own(str(variables.get("__file__") or "") if name.startswith("<") else name)

    def _follow(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call":
            if code.co_name == "<module>" and (file := self.own(code.co_filename)):
                importer = frame.f_back
                while importer is not None and not self.own(importer.f_code.co_filename):
                    importer = importer.f_back
                if importer is not None:
                    self.edges.setdefault(self.own(importer.f_code.co_filename), set()).add(file)
                self._modules.append(file)
                self.imports[file] = Trace()
                return
            ran, place = self._current().ran, (id(code), id(frame.f_globals))
            is_class = not _is_function(code) and code.co_name != "<module>"  # its statements count as its module's
            if not is_class and place not in ran and self.file_of(code, frame.f_globals):
                known = frame.f_locals
                free = [known[name] for name in code.co_freevars if name in known]
                names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
                arguments = [known[name] for name in names if name in known]
                kinds = [each if isinstance(each, type) else type(each) for each in arguments]
                ran[place] = Ran(code, frame.f_globals, [*free, *kinds])
        elif event == "return" and code.co_name == "<module>" and self._modules and self.own(code.co_filename):
            self._modules.pop()

    def _in_thread(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._is_on and event == "call" and self.file_of(frame.f_code, frame.f_globals):
            self._current().doubts["code runs in another thread"] = None

    def _audit(self, event: str, _arguments: object) -> None:
        if self._is_on and event in STARTS_PROCESS:
            self._current().doubts["a process is started"] = None

    def _current(self) -> Trace:
        return self.imports[self._modules[-1]] if self._modules else self._trace


@cache
def _own(tree: str, file: str) -> str:
    path = os.path.realpath(file) if tree and file.startswith(os.sep) else ""
    within = path.removeprefix(tree) if path.startswith(tree) else ""
    return "" if within.startswith(HARNESS) or INSTALLED & set(within.split(os.sep)) else within  # noqa: PTH206


def reach(tracer: Tracer, tree: str, build: Callable[[], Built | Loading]) -> "CaseCode":
    """Build a case and call it twice; returns what it may run."""
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
    found.may_import, is_any = True, found.may_import
    found.follow(building, [])
    found.may_import = is_any  # building is the same each time, so that its imports have been seen
    if tracer.keeps_threads():
        found.doubts["it keeps a thread"] = None
    frames: Any = sys.modules.get("torch._dynamo.utils")
    if not is_compiled and frames is not None and frames.counters["frames"]:
        found.doubts["it compiles itself"] = None
    timed.end()
    return found


class CaseCode:
    """The definitions that a case may run, each with a digest of its code."""

    def __init__(self, tracer: Tracer, *, whole_modules: bool) -> None:
        """`whole_modules`: count every function of each module that the case imports."""
        self._tracer = tracer
        self._is_whole = whole_modules
        self._todo: list[Any] = []
        self._seen: dict[int, Any] = {}  # keeps what was seen, so that no other object gets its address
        self._codes: dict[tuple[int, int], CodeType] = {}
        self._whole: set[tuple[str, bool]] = set()
        self._modules: dict[str, None] = {}  # own files
        self.code: set[str] = set()
        self.doubts: dict[str, None] = {}
        self.may_import = False  # any module, by a name that a later call makes
        loaded = (each for each in [*sys.modules.values()] if isinstance(each, ModuleType))
        self._loaded = {file: each for each in loaded if (file := tracer.own(str(vars(each).get("__file__") or "")))}

    def follow(self, trace: Trace, objects: Sequence[Any]) -> None:
        """Add all that a trace and objects lead to."""
        self._add_ran(trace)
        self._todo += objects
        done = 0
        while self._todo or done < len(self._modules):
            if self._todo:
                self._visit(self._todo.pop())
            else:
                self._add_module([*self._modules][done])
                done += 1
            if len(self._seen) > MAX_OBJECTS:
                self.doubts[f"it holds more than {MAX_OBJECTS:,} objects"] = None
                return

    def _add_ran(self, trace: Trace) -> None:
        self.doubts |= trace.doubts
        for ran in trace.ran.values():
            self._add_code(ran.code, ran.variables)
            self._todo += ran.values

    def _visit(self, value: Any) -> None:
        kind = type(value)
        if kind in ATOMS or id(value) in self._seen or value is sys.modules:
            return
        self._seen[id(value)] = value
        if isinstance(value, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self.doubts["it is a TorchScript module"] = None
        elif kind is FunctionType:
            if self._tracer.file_of(value.__code__, value.__globals__):
                self._add_code(value.__code__, value.__globals__)
            # Also of others: a decorator of torch holds the function that it wraps.
            self._todo += [value.__defaults__, value.__kwdefaults__, vars(value), *(value.__closure__ or ())]
        elif isinstance(value, ModuleType):
            if file := self._tracer.own(str(vars(value).get("__file__") or "")):
                self._add_whole(file, vars(value))
        elif isinstance(value, type):
            self._add_class(value)
        elif not (kind is dict and "__builtins__" in value):  # the names of a module
            self._todo += [kind, *gc.get_referents(value)]

    def _add_class(self, kind: type) -> None:
        for each in kind.__mro__:
            variables = vars(sys.modules.get(str(each.__module__), builtins))
            if file := self._tracer.own(str(variables.get("__file__") or "")):
                self._modules[file] = None
                self._todo += [type(each), *vars(each).values()]
                if any(name in vars(each) for name in ANY_ATTRIBUTE):
                    self._add_whole(file, variables)

    def _add_code(self, code: CodeType, variables: Mapping[str, Any]) -> None:
        if (id(code), id(variables)) in self._codes:
            return
        self._codes[id(code), id(variables)] = code
        file = self._tracer.file_of(code, variables)
        self._modules[file] = None
        self.code.add(f"{file}:{code.co_qualname} {digest(code)}")
        self._add_names(names(code), file, variables)

    def _add_names(self, found: "BodyNames", file: str, variables: Mapping[str, Any]) -> None:
        for first, *others in found.chains:
            self._todo.append(_attribute(variables.get(first, getattr(builtins, first, None)), others))
        package = str(variables.get("__package__") or "")
        for name, level, attributes in found.imports:
            self._add_import(_full(name, level, package), attributes)
        if found.all & (OWN_NAME | ANY_NAME):
            self._add_whole(file, variables, others=bool(found.all & ANY_NAME))
        self.may_import |= bool(found.all & ANY_MODULE) or ("sys", "modules") in found.chains

    def _add_import(self, name: str, attributes: Sequence[str]) -> None:
        """Add what a function imports, whether it has done so or not."""
        self._import_module(name)
        if name in sys.modules:
            for depth in range(len(attributes)):
                self._import_module(".".join([name, *attributes[: depth + 1]]))
            self._todo.append(_attribute(sys.modules[name], attributes))
        for module in [name, *(f"{name}.{attribute}" for attribute in attributes[:1])]:
            self._add_unloaded(module)

    def _add_unloaded(self, name: str) -> None:
        """Add a module of the tree that a function imports and that is not loaded, with all that this one imports."""
        if not name or name in sys.modules:
            return
        *parents, last = name.split(".")
        self._add_unloaded(".".join(parents))
        for folder in (Path(entry, *parents) for entry in sys.path):
            for file, package in ((folder / last / "__init__.py", name), (folder / f"{last}.py", ".".join(parents))):
                own = self._tracer.own(str(file))
                if own and (own, False) not in self._whole and file.is_file() and (code := compiled(file)) is not None:
                    self._add_whole(own, {})
                    for imported, level, attributes in names(code).imports:
                        self._add_import(_full(imported, level, package), attributes)

    def _add_whole(self, file: str, variables: Mapping[str, Any], *, others: bool = False) -> None:
        """Add all definitions of a module, and with `others` what it imports from others."""
        if (file, others) in self._whole or not file:
            return
        self._whole.add((file, others))
        self._modules[file] = None
        path = Path(self._tracer.tree + file)
        code = compiled(path)
        content = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() if code is None else digest(code)
        self.code.add(f"{file}:* {content}")
        for name, value in variables.items():
            is_own = getattr(value, "__module__", None) == variables.get("__name__")
            if name != "__builtins__" and not isinstance(value, ModuleType) and (others or is_own):
                self._todo.append(value)

    def _add_module(self, file: str) -> None:
        """Add a module's statements outside of functions, what they ran, and the modules that they import."""
        code = compiled(Path(self._tracer.tree + file))
        variables = vars(self._loaded[file]) if file in self._loaded else {}
        if code is None or self._is_whole:
            self._add_whole(file, variables)
        if code is None:
            return
        self.code.add(f"{file}:<module> {digest(code, without_functions=True)}")
        self._modules |= dict.fromkeys(self._tracer.edges.get(file, ()))
        trace = self._tracer.imports.get(file)
        for part in parts(code, functions=False):
            found = names(part, within=False)
            package = str(variables.get("__package__") or "")
            for name, level, attributes in found.imports:
                self._import_module(".".join([_full(name, level, package), *attributes[:1]]))
            if trace is None:  # it was imported before anybody followed
                self._add_names(BodyNames(found.chains, frozenset(), frozenset()), file, variables)
        if trace is not None:
            self._add_ran(trace)

    def _import_module(self, name: str) -> None:
        """Add a module and the packages that it is in."""
        while name:
            if file := self._tracer.own(str(getattr(sys.modules.get(name), "__file__", None) or "")):
                self._modules[file] = None
            name = name.rpartition(".")[0]


def _attribute(value: Any, attributes: Sequence[str]) -> Any:
    """The attribute of an attribute ... of a module; what is no module is returned as a whole."""
    for attribute in attributes:
        if not isinstance(value, ModuleType):
            break
        value = vars(value).get(attribute, value)  # of a lazy module: all of it
    return value


def _full(name: str, level: int, package: str) -> str:
    """The full name of a module that a statement imports, relative to a package if it has a level."""
    parents = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    return ".".join(filter(None, [*parents, name]))


@dataclass(frozen=True)
class BodyNames:
    """What a body names: names of its module with the attributes that follow, imports, and all names."""

    chains: frozenset[tuple[str, ...]]
    imports: frozenset[tuple[str, int, tuple[str, ...]]]  # module, level, what is used of it
    all: frozenset[str]


@cache
def names(code: CodeType, *, within: bool = True) -> BodyNames:
    """What a function's body names, and the functions `within` it."""
    chains: set[tuple[str, ...]] = set()
    imports: set[tuple[str, int, tuple[str, ...]]] = set()
    every: set[str] = set()
    bound: dict[str, tuple[str, int, tuple[str, ...]]] = {}  # local name -> the import that it is of
    for part in parts(code) if within else (code,):
        every.update(part.co_names)
        chain: tuple[str, ...] = ()
        imported: tuple[str, int, tuple[str, ...]] = "", 0, ()
        steps = [step for step in dis.get_instructions(part) if step.opname != "EXTENDED_ARG"]
        for index, step in enumerate([*steps, steps[-1]]):
            kind, value = step.opname, step.argval
            if chain and kind in ("LOAD_ATTR", "LOAD_METHOD"):
                chain += (value,)
                continue
            if chain and chain[0] in bound:
                module, level, taken = bound[chain[0]]
                imports.add((module, level, taken + chain[1:]))
            elif chain:
                chains.add(chain)
            chain = (value,) if kind in NAMED or (kind.startswith(LOCAL) and value in bound) else ()
            if kind == "IMPORT_NAME":
                imported = value, steps[index - 2].argval, ()
                imports.add((value, steps[index - 2].argval, ("",)))  # at least its statements
            elif kind == "IMPORT_FROM":
                imported = (*imported[:2], (value,))
            elif kind.startswith("STORE_") and steps[index - 1].opname in ("IMPORT_NAME", "IMPORT_FROM"):
                bound[value] = imported
                if kind in ("STORE_NAME", "STORE_GLOBAL"):
                    imports.add(imported)
            elif kind == "IMPORT_STAR":
                imports.add((*imported[:2], ()))
    return BodyNames(frozenset(chains), frozenset(imports), frozenset(every))


def parts(code: CodeType, *, functions: bool = True) -> Iterator[CodeType]:
    """A code object and those within it; without `functions`, those of class bodies alone."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and (functions or not _is_function(constant)):
            yield from parts(constant, functions=functions)


def _is_function(code: CodeType) -> bool:
    """Whether code runs when it is called, unlike the body of a class, a module or a comprehension."""
    is_comprehension = code.co_name.startswith("<") and code.co_name != "<lambda>"
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and not is_comprehension


@cache
def digest(code: CodeType, *, without_functions: bool = False) -> str:
    """A digest of what code does, whatever its place, its comments and the docstrings of functions are."""

    def text(value: object) -> str:
        if isinstance(value, CodeType):
            if without_functions and _is_function(value):
                return value.co_qualname
            return digest(value, without_functions=without_functions)
        if isinstance(value, frozenset):
            return f"frozenset{sorted(map(text, value))}"
        if isinstance(value, tuple):
            return f"tuple{list(map(text, value))}"
        return f"{type(value).__name__} {value!r}"

    steps = [f"{step.opname} {text(step.argval)}" for step in dis.get_instructions(code)]
    form = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_varnames)
    content = repr((steps, form, code.co_freevars, code.co_cellvars, code.co_exceptiontable))
    return hashlib.sha1(content.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()[:16]


@cache
def compiled(path: Path) -> CodeType | None:
    """The code of a Python file; None for another file."""
    if path.suffix != ".py":
        return None
    code: CodeType = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    return code


ATOMS = {type(None), bool, int, float, complex, str, bytes, CodeType, torch.dtype, torch.device, torch.Size}
