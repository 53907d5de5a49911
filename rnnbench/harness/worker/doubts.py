"""What code may do that can't be followed: it runs code by a name, reads the text of code, or opens files by a path.

Each is known by what the code names, as attributes of anything or as the objects themselves under any other name. A
case whose code names one of them has a `Doubt`.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator

from rnnbench.harness.protocol import Doubt

RUNS_ANY = Doubt("code", "it may run any code, by a name made at run time")
READS_TEXT = Doubt("text", "it may read the text of its code, such as docstrings")
OPENS_PATHS = Doubt("path", "it may open files by their paths")
DRAWS_DATA = Doubt("code", "it draws from a data set, with code that may run in other processes")
MAY_START_PROCESS = Doubt("code", "it may start a process")

# Names that mean this of whatever they are taken from.
DOUBTFUL_ATTRIBUTES: dict[Doubt, set[str]] = {
    RUNS_ANY: {
        *("__globals__", "__builtins__", "__import__", "__subclasses__", "import_module", "run_module", "run_path"),
        *("_getframe", "_current_frames", "currentframe", "f_globals", "get_objects", "get_referrers"),
        *("spec_from_file_location", "spec_from_loader", "module_from_spec", "find_spec", "exec_module", "load_module"),
        *("SourceFileLoader", "SourcelessFileLoader", "ExtensionFileLoader", "zipimporter", "locate", "resolve_name"),
        *("Unpickler", "entry_points", "load_inline"),
    },
    READS_TEXT: {
        *("__doc__", "getdoc", "getcomments", "getsource", "getsourcelines", "getsourcefile", "findsource", "getblock"),
        *(
            "get_data",
            "linecache",
            "getline",
            "getlines",
            "get_source",
            "f_lineno",
            "tb_lineno",
            "co_firstlineno",
            "co_lines",
        ),
        *("co_positions", "co_linetable", "co_lnotab", "co_filename", "getfile", "__file__", "__cached__"),
    },
    OPENS_PATHS: {
        *("open", "open_code", "read_text", "read_bytes", "open_text", "open_binary", "read_binary", "get_data"),
        *("loadtxt", "genfromtxt", "fromfile", "memmap", "read_csv", "read_json", "read_parquet", "read_pickle"),
        *("safe_open", "load_file", "from_file", "as_file", "iterdir", "glob", "rglob", "listdir", "scandir"),
        *("imread", "read_image", "read_table", "read_feather", "read_hdf", "open_file", "open_dataset", "scan_csv"),
    },
}
PROCESSES: dict[str, tuple[str, ...]] = {
    "subprocess": ("Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"),
    "os": ("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "execv", "execve", "spawnv"),
    "multiprocessing": ("Process", "Pool", "get_context"),
    "torch.multiprocessing": ("Process", "Pool", "get_context", "spawn", "start_processes"),
    "concurrent.futures": ("ProcessPoolExecutor",),
}
# Objects, by the module and the name in it: known under any name, and only if the module is loaded.
OBJECTS: dict[Doubt, dict[str, tuple[str, ...]]] = {
    RUNS_ANY: {
        "builtins": ("eval", "exec", "compile", "globals", "__import__"),
        "importlib": ("import_module",),
        "pickle": ("load", "loads", "_load", "_loads", "Unpickler"),
        "shelve": ("open",),
        "dill": ("load", "loads"),
        "cloudpickle": ("load", "loads"),
        "joblib": ("load",),
        "marshal": ("load", "loads"),
        "pydoc": ("locate", "importfile", "safeimport"),
        "pkgutil": ("resolve_name", "find_loader", "get_loader"),
        "runpy": ("run_path", "run_module"),
        "sys": ("_getframe", "modules"),
        "code": ("InteractiveInterpreter", "InteractiveConsole"),
        "timeit": ("timeit", "repeat", "Timer"),
        "cProfile": ("run", "runctx"),
        "logging.config": ("dictConfig", "fileConfig"),
        "unittest.mock": ("patch",),
        "torch.package": ("PackageImporter",),
        "torch.hub": ("load",),
        "hydra.utils": ("instantiate", "get_class", "get_method", "get_object"),
        "torch.utils.cpp_extension": ("load", "load_inline"),
    },
    MAY_START_PROCESS: PROCESSES,
    READS_TEXT: {
        "inspect": ("stack", "getdoc", "getcomments", "getsource", "getsourcelines", "findsource"),
        "ast": ("parse",),
        "tokenize": ("open", "tokenize", "generate_tokens"),
        "pydoc": ("getdoc", "render_doc"),
    },
    OPENS_PATHS: {
        **{module: members for module, members in PROCESSES.items() if module != "os"},  # they may open any file
        "io": ("open", "open_code", "FileIO"),
        "os": ("open", "listdir", "scandir", "walk", *PROCESSES["os"]),
        "torch": ("load",),
        "torch.jit": ("load",),
        "numpy": ("load",),
        "importlib.resources": ("files", "path", "contents"),
        "h5py": ("File",),
        "lmdb": ("open", "Environment"),
        "netCDF4": ("Dataset",),
        "soundfile": ("read",),
        "torchaudio": ("load",),
        "sqlite3": ("connect",),
        "mmap": ("mmap",),
        "ctypes": ("CDLL", "PyDLL"),
    },
}
# A module from which code is taken by a computed name, as `getattr(builtins, "ev" + "al")`.
WHOLE_MODULES = ("builtins", "importlib", "pickle", "pydoc", "pkgutil", "runpy")
BUILTINS = {"eval", "exec", "compile", "globals", "__import__"}  # also if a module was made from a text
NOT_ONLY_WEIGHTS = "weights_only="  # torch.load, which then unpickles any class by its name


def doubts_of_names(names: Iterable[str], imports: Iterable[tuple[str, tuple[str, ...]]]) -> Iterator[Doubt]:
    """Yield the doubts about code by what it names; `imports` are those of a function, whose names are not known yet.

    `names` and `imports`: as in `rnnbench.harness.worker.code_parts.CodePart`.
    """
    last = {name.rpartition(".")[2] for name in names if name != "__file__"}  # which may only tell a folder
    dotted = {".".join(name.split(".")[:length]) for name in names for length in range(2, name.count(".") + 1)}
    dotted |= {*names, *(f"{module}.{member}" for module, members in imports for member in members)}
    for doubt, attributes in DOUBTFUL_ATTRIBUTES.items():
        # Python's own `open` is an object, and code may have a function of this name.
        if last & attributes - {"open"} or (".open" in dotted and "open" in attributes):
            yield doubt
    if not BUILTINS.isdisjoint(dotted) or NOT_ONLY_WEIGHTS in dotted or "sys.modules" in dotted:
        yield RUNS_ANY
    loaded = {module for module, _ in imports}  # perhaps under another name
    for doubt, objects in OBJECTS.items():
        if any(
            f"{module}.{member}" in dotted or (module in loaded and f".{member}" in dotted)
            for module, members in objects.items()
            for member in members
        ):
            yield doubt


def doubtful_objects() -> dict[int, set[Doubt]]:
    """Return the doubts about code that holds some loaded objects under any name, by the addresses of these."""
    doubts = defaultdict[int, set[Doubt]](set)
    for name in WHOLE_MODULES:
        if name in sys.modules:
            doubts[id(sys.modules[name])].add(RUNS_ANY)
    for doubt, objects in OBJECTS.items():
        for module, members in objects.items():
            loaded = vars(sys.modules.get(module, object))  # not `getattr`, for which some modules import others
            for member in members:
                if member in loaded:
                    doubts[id(loaded[member])].add(doubt)
    return doubts
