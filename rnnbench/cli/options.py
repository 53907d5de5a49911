"""The options that several commands share, with their types."""

import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from rnnbench.cli import output
from rnnbench.text import seconds_of, share_of

if TYPE_CHECKING:
    from rnnbench.store.records import Group
    from rnnbench.suite.suites import Suite

EMPTY_VALUE = "the value is empty (is a shell variable unset?)"
RESULTS = Path("results")
REPEATED = "Can be given several times."
SUITE_METAVAR = "SUITE|FILE.py:CELL|PACKAGE:CELL"  # how helps call the argument
OF_CELLS = ("reference-cell", "input", "sequence")  # of SUITE where it is a cell


# What few users set; a help shows these last, under a heading of their own.
ADVANCED = frozenset(
    {
        "allow_missing",
        "base_name",
        "base_python",
        "executor",
        "input",
        "name",
        "on_growth",
        "sequence",
        "slurm_options",
        "sources",
    }
)


class Command(click.Command):
    """A command whose help shows the options of ADVANCED last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in two sections; the second may be missing."""
        usual: list[tuple[str, str]] = []
        advanced: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                (advanced if parameter.name in ADVANCED else usual).append(record)
        for heading, records in (("Options", usual), ("Advanced", advanced)):
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class OptionValue(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """A value that a function reads from text; what it refuses with ValueError is a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value. An empty text is refused: it would mean a default, or the current folder."""
        try:
            if value == "":
                raise ValueError(EMPTY_VALUE)
            return self._parse(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:
        """Name the suites where SUITE is missing."""
        from rnnbench.suite.places import shipped

        if self is not SUITE_TYPE:
            return None
        return f"Suites: {', '.join(sorted(shipped()))}. `rnnbench list suites` describes them."

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of files, for a path, or of folders."""
        kind = {"path": "file", "folder": "dir"}.get(self.name)
        return [] if kind is None else [CompletionItem(incomplete, type=kind)]


def _folder(text: str) -> Path:
    """Return the path of a folder, which may not exist yet."""
    if Path(text).exists() and not Path(text).is_dir():
        raise ValueError(f"{text} is a file; expected a folder, which is made if it does not exist")
    return Path(text)


TEXT_TYPE = OptionValue("text", str)
PATH_TYPE = OptionValue("path", Path)
SUITE_TYPE = OptionValue("suite", str)
FOLDER_TYPE = OptionValue("folder", _folder)
PERCENT_TYPE = OptionValue("percentage", share_of)
DURATION_TYPE = OptionValue("duration", seconds_of)


def suite_names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Complete SUITE: the suites that a bare name finds, and files."""
    from rnnbench.suite.places import shipped

    # Files first: bash forgets what comes before them, and shows them where no name matches.
    return [CompletionItem(typed, type="file"), *(CompletionItem(name) for name in shipped() if name.startswith(typed))]


def _option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Return an option of click whose values are texts unless `type` says otherwise."""
    return click.option(*names, **{"type": TEXT_TYPE} | attributes)


def writes_into(what: str, *, default: Path | None = None, shown_default: str = "") -> Callable[[Any], Any]:
    """Give a command the option --out: the folder that it writes into, which is made if it does not exist.

    `what`: what the command writes there; `shown_default`: where it writes without the option, if that is no path.
    """
    note = f"  [default: {shown_default or default}]"
    return _option("--out", type=FOLDER_TYPE, metavar="DIR", default=default, help=f"Folder for {what}.{note}")


SHARED_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "out": writes_into("the output, with a new subfolder for each run, check or search", default=RESULTS),
    "only": _option(
        "--only",
        multiple=True,
        metavar="EXPR",
        help=f"Select cases by the values of their axes: 'cell=lstm,gru hidden_size=256'. {REPEATED}",
    ),
    "device": _option(
        "--device", metavar="NAME", help="Measure on this device: cpu, cuda, cuda:1.  [default: the suite's]"
    ),
    "source": _option(
        "--source",
        "sources",
        multiple=True,
        metavar="DIR",
        help="Also import modules from this folder of the repository, before those of the project nearest to SUITE. "
        f"{REPEATED}",
    ),
    "reference-cell": _option(
        "--reference",
        metavar="rnn|lstm|gru|none|CELL",
        help="Compare a cell that has no suite with a layer of torch.nn, or with another cell.  "
        "[default: the layer of its kind]",
    ),
    "input": _option(
        "--input",
        metavar="KIND",
        help="The kind of input of a cell that has no suite: tokens:100, frames:3x8x8.  [default: features]",
    ),
    "sequence": click.option(
        "--sequence",
        is_flag=True,
        help="The given class runs the whole sequence, as torch.nn.LSTM does.  [default: one step]",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="Print one JSON object per case."),
    "json-lines": click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line."),
    "json-object": click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    "margin": _option(
        "--margin", type=PERCENT_TYPE, help="The largest slowdown that is no regression.  [default: the suite's]"
    ),
    "on-undecided": click.option(
        "--on-undecided",
        type=click.Choice(["pass", "fail"]),
        help="If nothing regressed but a case is undecided, exit with 0 (pass) or 3 (fail). By default, only a "
        "check that timed cases and decided none of them exits with 3.",
    ),
    "on-growth": click.option(
        "--on-growth",
        type=click.Choice(["pass", "fail"]),
        default="pass",
        show_default=True,
        help="With fail, a case also regresses if it makes more operator calls or allocations and did not become "
        "faster, or if it became faster but needs more memory than its margin allows.",
    ),
}


def takes(*names: str) -> Callable[[Any], Any]:
    """Give a command the options with these names, in this order."""

    def with_options(command: Any) -> Any:
        for name in reversed(names):
            command = SHARED_OPTIONS[name](command)
        return command

    return with_options


def takes_suite(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes OF_CELLS the argument SUITE, which may be a cell; it gets the suite itself.

    A class without a reference is compared with torch.nn's layer of its kind, if there is one.
    """

    @click.argument("suite", metavar=SUITE_METAVAR, type=SUITE_TYPE, shell_complete=suite_names)
    @wraps(command)
    def with_suite(
        *context: click.Context, suite: str, reference: str | None, input: str | None, sequence: bool, **options: Any
    ) -> None:
        from rnnbench.store.records import LAYERS
        from rnnbench.suite.cell_suite import is_cell, layer_of

        parsed_suite = suite_or_cell(suite, reference, input, sequence=sequence)
        if is_cell(suite) and reference is None and (layer := LAYERS.get(layer_of(suite))):
            output.tell(f"{suite} is compared with {layer}; --reference none times it alone")
        if options["only"]:
            # Refuses a typo before the command imports what is large.
            selected(parsed_suite, options["only"], options["device"])
        command(*context, suite=parsed_suite, **options)

    wrapper: Callable[..., None] = with_suite
    return wrapper


def suite_or_cell(
    name: str, reference: str | None, input: str | None, *, sequence: bool, default: str | None = None
) -> "Suite":
    """Return the suite that the command line names, or that of a cell, whose reference is `default` unless given.

    Raises click.UsageError if options of a cell are given for a suite.
    """
    from rnnbench.suite.cell_suite import is_cell, of_cell

    if is_cell(name):
        return of_cell(name, default if reference is None else reference, whole=sequence, input=input or "features")
    if reference is not None or input is not None or sequence:
        raise click.UsageError(
            "--reference, --input and --sequence are for a cell (FILE.py:CELL or PACKAGE:CELL); a suite sets them in "
            "its file"
        )
    return read_suite(name)


def typed_command() -> str:
    """Return the command as it was typed, quoted for a shell; a run keeps it."""
    return shlex.join(["rnnbench", *sys.argv[1:]])


def read_suite(name: str) -> "Suite":
    """Read the suite that the command line names; warns if it hides a suite of rnnbench."""
    from rnnbench.suite import suites

    suite = suites.read_suite(name)
    suites.refuse_idle_margins(suite)
    _tell_hidden(name, suite.file)
    return suite


def _tell_hidden(name: str, file: Path) -> None:
    """Warn if a suite's file hides a suite of rnnbench with the same name."""
    from rnnbench.suite.places import hidden_by

    if hidden := hidden_by(name, file):
        output.tell(f"the file {file} hides rnnbench's own suite {name!r}, which is {hidden}")


def refuse_other_out(context: click.Context, resume: Path, out: Path) -> None:
    """Raise a usage error if --out was given and the folder to go on with is not in it."""
    is_explicit = context.get_parameter_source("out") is ParameterSource.COMMANDLINE
    if is_explicit and resume.exists() and resume.resolve().parent != out.resolve():
        raise click.UsageError(f"--resume goes on in {resume}, which is not in --out {out}; leave out --out")


def refuse_unseen(device: str | None) -> None:
    """Raise UserError if this process can't see the device that the command line names, before a worker starts.

    A job that sees one card of several has it as `cuda:0`, whatever its number on the machine.
    """
    if device is None:
        return
    from rnnbench.errors import UserError
    from rnnbench.harness.devices import backend

    if reason := backend(device).why_not_here(device):
        raise UserError(f"--device {device}: {reason}")


def selected(suite: "Suite", only: tuple[str, ...], device: str | None) -> "list[Group]":
    """Return the cases of a suite that the command line selects, in groups."""
    from rnnbench.suite.expressions import parse_only

    return suite.groups(parse_only(only, "--only", arguments=suite.arguments), device)
