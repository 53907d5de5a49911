"""What ran when a case was built and called, and what it may run.

A case may run what building and calling it ran, and all that this code names. A function that no call has run yet
counts, too, if a function that ran names it: a slow path at the fiftieth call, say. What can't be followed is told as a
`Doubt`, and the case is timed if a file of the doubt's kind has changed.

`case_code` follows what ran to all that it names. `code_parts` has the functions, classes and statements of a file,
`only_binds` tells which statements count for code that uses their names alone, and `doubts` has the clauses of what
can't be followed. `rnnbench.check.same_code` says which clause a case is timed for.
"""

import importlib.metadata
import inspect
import os
import shlex
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import cache
from types import CodeType, FrameType
from typing import Any

import torch

from rnnbench.harness.protocol import Doubt, Reply
from rnnbench.harness.worker.case_code import CaseCode, Ran
from rnnbench.harness.worker.doubts import READS_TEXT
from rnnbench.harness.worker.user_files import IMPORT_SYSTEM, opened_file, reader_of_event
from rnnbench.store.implementations import COMPILED
from rnnbench.workloads.data import Loading
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built

HARNESS = os.path.join("rnnbench", "harness", "")  # noqa: PTH118 - what measures is no part of a case
SITE_FOLDERS = {"site-packages", "dist-packages"}
PROCESS_EVENTS = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec")
LISTING_EVENTS = ("os.listdir", "os.scandir")
# How the names of the files of Python's own code begin that imports a package, or reads its version.
LOOKS_FOR_PACKAGES = (IMPORT_SYSTEM, importlib.metadata.__file__)
TEXT_READERS = {id(each.__code__) for each in (inspect.getdoc, inspect.getcomments, inspect.findsource)}
# A slow path may come after some calls: as many are followed, but for no longer than that.
FOLLOWED_CALLS = 64
FOLLOWED_SECONDS = 0.05
# What was done that can't be followed: by which files of the tree, empty for none of them.
Doubts = defaultdict[Doubt, set[str]]


class Tracer:
    """Follows the code of one tree while the functions of a context run."""

    def __init__(self, tree: str) -> None:
        self.tree = os.path.realpath(tree) + os.sep
        self.doubts = Doubts(set)  # about all cases whose code has these files
        self.loaded = frozenset(sys.modules)  # before any code of the tree was run
        self._ran: Ran | None = None
        self._doubts = self.doubts  # about what runs now
        sys.addaudithook(self._audit)

    @contextmanager
    def following(self, doubts: Doubts) -> Iterator[Ran]:
        """Follow what runs within the context, in the threads that it starts, too; add to the `doubts` about it."""
        self._doubts = doubts
        self._ran = {}
        before = sys.gettrace()
        of_threads = threading.gettrace()
        threading.settrace(self._follow)
        sys.settrace(self._follow)  # which traces no lines: a third of what a profile's function costs
        try:
            yield self._ran
        finally:
            sys.settrace(before)
            threading.settrace(of_threads)
            self._ran = None  # which lets the arguments of its functions go

    def path_in_tree(self, variables: Mapping[str, Any], code: CodeType | None = None) -> str:
        """Return the path below the tree of the file of a module or function; empty if it is not the tree's own.

        A function that was made from a text belongs to the module that made it.
        """
        file = "<module>" if code is None else code.co_filename
        return _below(self.tree, str(variables.get("__file__") or "") if file.startswith("<") else file)

    def _follow(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        variables = frame.f_globals
        ran = self._ran
        place = id(code), id(variables)
        if event != "call" or ran is None or place in ran or not code.co_flags & inspect.CO_OPTIMIZED:
            return  # statements of a module or class count as the module's
        if id(code) in TEXT_READERS:
            self._add(READS_TEXT)
        if self.path_in_tree(variables, code):
            # `__class__` is the function's own class, for `super`; those of the objects are among the others.
            ran[place] = code, variables, [value for name, value in frame.f_locals.items() if name != "__class__"]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._ran is None:
            return
        if event in PROCESS_EVENTS:
            frame, is_installed = self._place()
            words = [os.path.abspath(word) for word in _words(arguments) if os.path.exists(word)]  # noqa: PTH100, PTH110
            # An installed package may start one while it is imported: what runs there is none of the tree's code.
            if not is_installed or any(_below(self.tree, os.path.realpath(word)) for word in words):
                self._add(Doubt("code", f"a process is started{self._in_words(frame)}"))
            for word in words:  # the current folder may change later
                self._add_path(word)
        elif file := opened_file(event, arguments):
            if reader_of_event() == "code":
                self._add_path(file)
        elif (
            event in LISTING_EVENTS
            and isinstance(arguments[0], str | bytes | os.PathLike | None)
            and reader_of_event() == "code"
            and not self._place()[1]
        ):
            self._add_path(os.path.abspath(os.fsdecode(arguments[0] or ".")))  # noqa: PTH100

    def _place(self) -> tuple[FrameType | None, bool]:
        """Return the innermost frame of the tree, and whether an installed package is imported or looked for in it."""
        frame: FrameType | None = sys._getframe(1)
        is_installed = False
        while frame is not None and not self.path_in_tree(frame.f_globals, frame.f_code):
            is_installed = is_installed or frame.f_code.co_filename.startswith(LOOKS_FOR_PACKAGES)
            frame = frame.f_back
        return frame, is_installed

    def _in_words(self, frame: FrameType | None) -> str:
        return "" if frame is None else f" by {self.path_in_tree(frame.f_globals, frame.f_code)}:{frame.f_lineno}"

    def _add_path(self, file: str) -> None:
        path = os.path.realpath(file)
        if _below(self.tree, path) or f"{path}{os.sep}" == self.tree:
            self._add(Doubt("path", f"it opens {os.path.relpath(path, self.tree)} by its path"))

    def _add(self, doubt: Doubt) -> None:
        """Add a doubt about what runs now, by the innermost file of the tree that does it."""
        frame, _ = self._place()
        self._doubts[doubt].add("" if frame is None else self.path_in_tree(frame.f_globals, frame.f_code))


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
    path = _real(file) if file.startswith(os.sep) else ""
    within = path.removeprefix(tree) if path.startswith(tree) else ""
    return "" if within.startswith(HARNESS) or SITE_FOLDERS & set(within.split(os.sep)) else within  # noqa: PTH206


# It asks the disk about each folder of a path. `_below` keeps its answers for one tree; this one serves all trees.
_real = cache(os.path.realpath)


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
    case_code = CaseCode(tracer.tree, tracer.path_in_tree, tracer.loaded, whole_modules=is_compiled)
    case_code.follow(calling, [built, timed])
    may_do = {*case_code.doubts}
    case_code.follow(building, [])  # which is the same each time, so that what it runs by any name has been seen
    case_code.add_loaded()  # also what the other cells of the suite import, which may set what this case reads
    frames: Any = sys.modules.get("torch._dynamo.utils")
    if not is_compiled and frames is not None and frames.counters["frames"]:
        may_do.add(Doubt("code", "it compiles itself"))
    before = {doubt for doubt, places in tracer.doubts.items() if places & {"", *case_code.files}}
    every = before | may_do | doubts.keys() | (case_code.doubts & {READS_TEXT})
    return {"code": sorted(case_code.code), "doubts": [asdict(doubt) for doubt in sorted(every)]}


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
