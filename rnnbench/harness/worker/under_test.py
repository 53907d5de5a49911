"""The code under test: what of it a case may run.

A case may run what building and calling it ran, and all that this code names. A function that no call has run yet
counts, too, if a function that ran names it: a slow path at the fiftieth call, say. What can't be followed is told as a
`Doubt`, and the case is timed if a file of the doubt's kind has changed.
"""

import builtins
import gc
import inspect
import os
import shlex
import sys
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import asdict
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch

from rnnbench.harness.protocol import Doubt, Reply
from rnnbench.harness.worker.code_parts import STATEMENTS, parts
from rnnbench.harness.worker.unfollowed import READS_TEXT, doubtful_objects, doubts_of_names
from rnnbench.harness.worker.user_files import opened_file, reader_of_event
from rnnbench.store.metrics import COMPILED
from rnnbench.workloads.phases import Loading, TimedCall
from rnnbench.workloads.prepare import Built

HARNESS = os.path.join("rnnbench", "harness", "")  # noqa: PTH118 - what measures is no part of a case
SITE_FOLDERS = {"site-packages", "dist-packages"}
ATOMS = {type(None), bool, int, float, complex, str, bytes, CodeType, torch.dtype, torch.device, torch.Size}
STARTS_PROCESS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec")
LISTS = ("os.listdir", "os.scandir")
TEXT_READERS = {id(each.__code__) for each in (inspect.getdoc, inspect.getcomments, inspect.findsource)}
# A slow path may come after some calls: as many are followed, but for no longer than that.
FOLLOWED_CALLS, FOLLOWED_SECONDS = 64, 0.05
# Metaclasses that keep no list of their classes by which code finds them.
PLAIN_METACLASSES = ("type", "ABCMeta", "EnumType", "EnumMeta", "_ProtocolMeta", "FunctionMeta", "_TensorMeta")
PLAIN_BASES = ("object", "Generic", "Protocol")  # whose `__init_subclass__` keeps none

OF_PYTHON = ("__builtins__", "__loader__", "__spec__")  # names in every module

Variables = dict[str, Any]  # the names of a module
# The functions that ran, by code and names of its module: both, with the arguments and free variables.
Ran = dict[tuple[int, int], tuple[CodeType, Variables, list[Any]]]
# What was done that can't be followed: by which files of the tree, empty for none of them.
Doubts = defaultdict[Doubt, set[str]]


class Tracer:
    """Follows the code of one tree while the functions of a context run."""

    def __init__(self, tree: str) -> None:
        self.tree = os.path.realpath(tree) + os.sep
        self.doubts = Doubts(set)  # about all cases whose code has these files
        self._ran: Ran | None = None
        self._doubts = self.doubts  # about what runs now
        sys.addaudithook(self._audit)

    @contextmanager
    def following(self, doubts: Doubts) -> Iterator[Ran]:
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
        if id(code) in TEXT_READERS:
            self._add(READS_TEXT)
        if self.own(variables, code):
            ran[place] = code, variables, [*frame.f_locals.values()]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._ran is None:
            return
        if event in STARTS_PROCESS:
            self._add(Doubt("code", "a process is started"))
            for word in filter(os.path.exists, _words(arguments)):
                self._add_path(os.path.abspath(word))  # noqa: PTH100 - the current folder may change later
        elif file := opened_file(event, arguments):
            if reader_of_event() == "code":
                self._add_path(file)
        elif (
            event in LISTS
            and isinstance(arguments[0], str | bytes | os.PathLike | None)
            and reader_of_event() == "code"
        ):
            self._add_path(os.path.abspath(os.fsdecode(arguments[0] or ".")))  # noqa: PTH100

    def _add_path(self, file: str) -> None:
        path = os.path.realpath(file)
        if _below(self.tree, path) or f"{path}{os.sep}" == self.tree:
            self._add(Doubt("path", f"it opens {os.path.relpath(path, self.tree)} by its path"))

    def _add(self, doubt: Doubt) -> None:
        """Add a doubt about what runs now, by the innermost file of the tree that does it."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not self.own(frame.f_globals, frame.f_code):
            frame = frame.f_back
        self._doubts[doubt].add("" if frame is None else self.own(frame.f_globals, frame.f_code))


def _words(arguments: tuple[Any, ...]) -> list[str]:
    """Return the words of the command of an audit event that starts a process."""
    words = list[str]()
    for argument in arguments[:2]:
        each = argument if isinstance(argument, list | tuple) else [argument]
        texts = [os.fsdecode(word) for word in each if isinstance(word, str | bytes | os.PathLike)]
        for text in texts:
            try:
                words += [text, *shlex.split(text)]
            except ValueError:  # an open quotation mark: it is no shell command
                words.append(text)
    return words


@cache
def _below(tree: str, file: str) -> str:
    path = os.path.realpath(file) if file.startswith(os.sep) else ""
    within = path.removeprefix(tree) if path.startswith(tree) else ""
    return "" if within.startswith(HARNESS) or SITE_FOLDERS & set(within.split(os.sep)) else within  # noqa: PTH206


def reach(tracer: Tracer, build: Callable[[], Built | Loading]) -> Reply:
    """Build a case and call it; return what it may run."""
    with tracer.following(tracer.doubts) as building:
        built = build()
        timed = built.timed_call()
    is_compiled = built.case.implementation in COMPILED
    # In place of compiled code its functions run, so that they are seen.
    stance = torch.compiler.set_stance("force_eager") if is_compiled else nullcontext()
    doubts = Doubts(set)
    with stance, closing(timed), timed.mode(), tracer.following(doubts) as calling:
        _call(timed)
    found = CaseCode(tracer, whole_modules=is_compiled)
    found.follow(calling, [built, timed])
    may_do = {*found.doubts}
    found.follow(building, [])  # which is the same each time, so that what it runs by any name has been seen
    frames: Any = sys.modules.get("torch._dynamo.utils")
    if not is_compiled and frames is not None and frames.counters["frames"]:
        may_do.add(Doubt("code", "it compiles itself"))
    files = {part.partition(":")[0] for part in found.code} | {""}
    before = {doubt for doubt, places in tracer.doubts.items() if places & files}
    every = before | may_do | doubts.keys() | (found.doubts & {READS_TEXT})
    return {"code": sorted(found.code), "doubts": [asdict(doubt) for doubt in sorted(every)]}


def _call(timed: TimedCall) -> None:
    """Call a case twice, with other inputs, and then more often if the calls are short."""
    for call in ("first", "second"):
        timed.renew(call)
        timed.call()
    end = time.perf_counter() + FOLLOWED_SECONDS
    for _ in range(FOLLOWED_CALLS - 2):
        if time.perf_counter() > end:
            break
        timed.call()


class CaseCode:
    """The parts of the tree's files that a case may run, each with a digest."""

    def __init__(self, tracer: Tracer, *, whole_modules: bool) -> None:
        """`whole_modules`: count all of each module that the case imports."""
        self._tracer, self._is_whole = tracer, whole_modules
        self._todo: list[Any] = []
        self._seen: dict[int, Any] = {}  # keeps what was seen, so that no other object gets its address
        self._added = set[Any]()  # modules, and parts of files
        self._unloaded: dict[str, Variables] = {}  # module that a later call may import -> all that is known
        self._doubtful = doubtful_objects()
        self.code: set[str] = set()
        self.doubts = set[Doubt]()  # what can't be followed

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
        if kind in ATOMS or id(value) in self._seen or value is vars(builtins):
            return
        self._seen[id(value)] = value
        if id(value) in self._doubtful:
            self.doubts |= self._doubtful[id(value)]
        elif isinstance(value, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            self.doubts.add(Doubt("code", "it is a TorchScript module"))
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
            held = gc.get_referents(value)
            if kind is BuiltinFunctionType:  # which holds its module
                held = [each for each in held if not isinstance(each, ModuleType)]
            self._todo += [kind, *held]
            if issubclass(kind, weakref.ReferenceType):
                self._todo.append(value())
            elif issubclass(kind, weakref.ProxyType | weakref.CallableProxyType):
                with suppress(ReferenceError):  # what it stood for is gone
                    self._todo.append(value.__init__.__self__)

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
        for name in parts(self._tracer.tree + file) if is_whole else [STATEMENTS]:
            self._add_part(file, name, variables)
        for value in [value for name, value in variables.items() if name not in OF_PYTHON]:
            is_found = isinstance(value, type) and value.__module__ == variables["__name__"] and _is_registered(value)
            if is_found or (is_whole and not isinstance(value, ModuleType)):
                self._todo.append(value)

    def _add_part(self, file: str, name: str, variables: Variables) -> None:
        """Add a part of a file, what it names, and what it imports."""
        of_file = parts(self._tracer.tree + file)
        if name not in of_file or (file, name, id(variables)) in self._added:
            return
        self._added.add((file, name, id(variables)))
        part = of_file[name]
        self.code.add(f"{file}:{name} {part.digest}")
        for first, _, attribute in (use.partition(".") for use in part.names):
            value = variables.get(first, getattr(builtins, first, None))
            # A module as a whole, if no attribute is taken of it or if it makes this one when it is asked.
            is_from_module = attribute and isinstance(value, ModuleType)
            self._todo.append(vars(value).get(attribute, value) if is_from_module else value)
        for registered in part.registered:
            self._add_part(file, registered, variables)
        is_function = name != STATEMENTS or "__spec__" not in variables  # a function imports what is not loaded
        self.doubts.update(doubts_of_names(part.names, part.imports if is_function else ()))
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


def _is_registered(kind: type) -> bool:
    """Return whether a class's metaclass or a base is told of it, and so may keep it where it is found by a name."""
    if type(kind).__name__ not in PLAIN_METACLASSES:
        return True
    return any("__init_subclass__" in vars(base) for base in kind.__mro__[1:] if base.__name__ not in PLAIN_BASES)


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module is that is not loaded; unlike importlib's function, this loads no package to find out."""
    parent = name.rpartition(".")[0]
    package = sys.modules.get(parent) or (_spec(parent) if parent else None)
    places = getattr(package, "__path__", getattr(package, "submodule_search_locations", None))
    return PathFinder.find_spec(name, places or ()) if parent else PathFinder.find_spec(name)
