"""Options and their types that several commands share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from rnnbench.cli import output
from rnnbench.errors import UserError
from rnnbench.text import seconds_of, share_of

if TYPE_CHECKING:
    from click import ParamType

    from rnnbench.store.records import Group
    from rnnbench.suites import Suite
else:

    class ParamType(click.ParamType):
        """click's class. `ParamType[str]` is valid in click from 8.4 on, here in older versions too."""

        def __class_getitem__(cls, value: Any) -> type:
            """The class itself: the type of its values is for mypy alone."""
            return cls


CONFIRM = "with --only, or confirm them with --yes"  # the end of the error about too many cases
EMPTY = "the value is empty (is a shell variable unset?)"


class Text(ParamType[str]):
    """Text that is not empty: an empty one would mean a default, or the current folder."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself; a click usage error if it is empty."""
        if not value:
            self.fail(EMPTY, param, ctx)
        return str(value)


class SuiteName(Text):
    """A suite or a cell; where it is missing, the message names the suites."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """What may stand there."""
        from rnnbench.suites import shipped

        return f"Suites: {', '.join(sorted(shipped()))}. `rnnbench list suites` describes them."


class File(click.Path):
    """A path that is not empty."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a click usage error if it is empty."""
        if value == "":
            self.fail(EMPTY, param, ctx)
        return super().convert(value, param, ctx)


def suite_names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Completions of SUITE: the suites that a bare name finds, and files."""
    from rnnbench.suites import shipped

    # Files first: bash forgets what comes before them, and shows them where no name matches.
    return [CompletionItem(typed, type="file"), *(CompletionItem(name) for name in shipped() if name.startswith(typed))]


def only_words(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Completions of --only: an axis, or after `axis=` or a comma a value of the suite."""
    from rnnbench.store.records import AXES

    before, space, last = typed.rpartition(" ")
    axis, equals, values = last.partition("=")
    kept, comma, _ = values.rpartition(",")
    words = [f"{name}=" for name in AXES]
    if equals:
        suite = next(iter(context.args), "")  # click gives the arguments of an unfinished line only here
        words = [f"{axis}={kept}{comma}{value}" for value in _values(suite, axis)]
    return [CompletionItem(f"{before}{space}{word}") for word in words if word.startswith(last)]


def _values(suite: str, axis: str) -> list[str]:
    """The values of a suite's axis; if there is no such suite, rnnbench's own cells for the axis `cell`."""
    from rnnbench import suites
    from rnnbench.cells import CELLS

    try:
        return suites.read(suite).values().get(axis, [])
    except UserError:
        return list(CELLS) if axis == "cell" else []


def read_suite(name: str) -> "Suite":
    """Read the suite that the command line names; says so if it hides one of rnnbench's own."""
    from rnnbench import suites

    suite = suites.read(name)
    suites.refuse_idle_margins(suite)
    if hidden := suites.hidden_by(name, suite.file):
        output.tell(f"{suite.file} is used, which hides the suite {name!r} of rnnbench; that one is {hidden}")
    return suite


def read_suite_or_cell(name: str, reference: str | None, input: str | None, *, sequence: bool) -> "Suite":
    """Read the suite that the command line names, or make that of a class, which alone takes the other options.

    A class without a reference is compared with torch.nn's layer of its kind, if there is one.
    """
    from rnnbench.cell_suite import is_cell, layer_of, of_cell
    from rnnbench.store.records import LAYERS

    if is_cell(name):
        suite = of_cell(name, reference, whole=sequence, input=input or "features")
        if reference is None and (layer := LAYERS.get(layer_of(name))):
            output.tell(f"{name} is compared with {layer}; --reference none times it alone")
        return suite
    if reference is not None or input is not None or sequence:
        raise click.UsageError(
            "--reference, --input and --sequence are for a cell (FILE.py:CELL or PACKAGE:CELL); a suite sets them in "
            "its file"
        )
    return read_suite(name)


def refuse_other_out(context: click.Context, resume: Path, out: Path) -> None:
    """Raise a usage error if --out was given and the folder to go on with is not in it."""
    is_given = context.get_parameter_source("out") is ParameterSource.COMMANDLINE
    if is_given and resume.exists() and resume.resolve().parent != out.resolve():
        raise click.UsageError(f"--resume goes on in {resume}, which is not in --out {out}; leave out --out")


def selected(suite: "Suite", only: tuple[str, ...], device: str | None, *, yes: bool) -> "list[Group]":
    """The cases of a suite that the command line selects, in groups."""
    from rnnbench import suites
    from rnnbench.expressions import parse_only

    with adding(CONFIRM, suites.TooManyCases):
        expression = parse_only(only, "--only", arguments=suite.arguments)
        return suite.groups(expression, device, most=None if yes else suites.MAX_CASES)


@contextmanager
def adding(words: str, to: type[Exception]) -> Iterator[None]:
    """Add the options that help to the message of an error: functions do not know the options of the command line."""
    try:
        yield
    except to as error:
        raise type(error)(f"{error} {words}") from None


def no_device(missing: Exception, suite: "Suite", device: str | None) -> UserError:
    """The error that no device of the selected cases is there, with what asked for it: --device or the suite."""
    return UserError(f"{suite.name if device is None else f'--device {device}'}: {missing}")


reference_option = click.option(
    "--reference",
    type=Text(),
    metavar="rnn|lstm|gru|none|CELL",
    help="Compare a cell that has no suite with a layer of torch.nn, or with another cell.  [default: the layer of its "
    "kind]",
)
sequence_option = click.option(
    "--sequence", is_flag=True, help="The given class runs the whole sequence, as torch.nn.LSTM does, not one step."
)
input_option = click.option(
    "--input",
    type=Text(),
    metavar="KIND",
    help="The kind of input of a cell that has no suite: tokens:100, frames:3x8x8. [default: features]",
)


def takes_suite(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument SUITE, which may be a cell, and the options of cells; it gets the suite itself."""

    @click.argument("suite", metavar="SUITE|FILE.py:CELL|PACKAGE:CELL", type=SuiteName(), shell_complete=suite_names)
    @reference_option
    @input_option
    @sequence_option
    @wraps(command)
    def with_suite(
        *context: click.Context, suite: str, reference: str | None, input: str | None, sequence: bool, **given: Any
    ) -> None:
        command(*context, suite=read_suite_or_cell(suite, reference, input, sequence=sequence), **given)

    return with_suite


only_option = click.option(
    "--only",
    type=Text(),
    multiple=True,
    metavar="EXPR",
    shell_complete=only_words,
    help="Keep these values of the axes: 'cell=lstm,gru hidden_size=256'.",
)
source_option = click.option(
    "--source",
    "sources",
    type=Text(),
    multiple=True,
    metavar="DIR",
    help="Also import modules from this folder of the repository, before those of the project nearest to SUITE.",
)
device_option = click.option(
    "--device", type=Text(), metavar="NAME", help="Measure on this device instead of the suite's: cpu, cuda."
)
out_option = click.option("--out", type=File(), default=Path("results"), show_default=True, help="Folder for runs.")
benchmark_reference_option = click.option(
    "--reference",
    type=Text(),
    metavar="NAME",
    help="For pytest-benchmark's files: the reference of each group: a name, PARAM=VALUE, or a pattern with *.",
)
benchmark_groups_option = click.option(
    "--group-by",
    type=Text(),
    metavar="LABEL",
    help="For pytest-benchmark's files: group by group, name, func, fullname, fullfunc, param or param:NAME.",
)
yes_option = click.option("--yes", is_flag=True, help="Allow more than 20,000 cases.")


class OneOf(ParamType[str]):
    """One of a few words, of an option that may also stand without a value."""

    name = "word"

    def __init__(self, *words: str) -> None:
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word; a click usage error if it is another one."""
        if value not in self._words:
            option = param.opts[0] if param else ""
            words = " or ".join(f"{option}={word}" for word in self._words)
            self.fail(f"{value!r} is not a value of {option}; write {words}, or put {option} last", param, ctx)
        return str(value)


class Percent(ParamType[float]):
    """A share: `2%` or `0.02`."""

    name = "percentage"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A fraction from text; a click usage error if it is not between 0 and 100%."""
        try:
            return share_of(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)


class Duration(ParamType[float]):
    """A duration: `90`, `90s`, `5m` or `1h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds from text; a click usage error if it is not a duration."""
        try:
            return seconds_of(value)
        except ValueError as fault:
            self.fail(str(fault), param, ctx)
