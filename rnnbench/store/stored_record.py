"""What all stored records share: they are dataclasses, and pydantic reads them back and checks every value.

Extra keys are ignored. Files of JSON lines are only added to:
every line is complete, except for a last one that was cut off and does not count.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le, Lt

from rnnbench.errors import UserError
from rnnbench.text import encoded

MAX_INTEGER = 1 << 63  # frames hold whole numbers below this
MAX_SHOWN_LENGTH = 40  # characters of a wrong value
Size = Annotated[int, Ge(1), Lt(MAX_INTEGER)]
Count = Annotated[int, Ge(0), Lt(MAX_INTEGER)]
HUGE = 1e300
SURROGATE = "\\ud"  # begins half a letter, as JSON writes it
Number = Annotated[float, Ge(-HUGE), Le(HUGE)]  # no NaN
Seconds = Annotated[float, Ge(0), Le(HUGE)]
Positive = Annotated[float, Gt(0), Le(HUGE)]
PLAINER = (  # the words of messages in place of pydantic's
    (r"Input should be", "expected"),
    (r"a valid integer", "a whole number"),
    (r", unable to parse string as an \w+", ""),
    (r"a valid string", "text"),
    (r"a (valid )?dictionary or (an )?instance of \w+", "a table"),
    (r"a valid (\w+)", r"a \1"),
    (r"(less|greater) than or equal to -?\d{20,}", "a finite number"),
    (r"greater than or equal to (\S+)", r"\1 or more"),
    (r"less than or equal to (\S+)", r"at most \1"),
    (r"^\w+ should have at least 1 item .*", "expected at least one value"),
)


class Record:
    """A dataclass that becomes JSON and is read back from it."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as values that JSON has, with text that every file can hold."""
        return clean(asdict(self))  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Return the record with this content; raises UserError if a value is wrong or missing."""
        kind: Any = cls
        return valid(adapter(kind).validate_python, content)  # type: ignore[no-any-return]


@cache
def adapter(kind: Any) -> Any:
    """Return pydantic's TypeAdapter of a type; pydantic is imported here, since `rnnbench --help` needs none of it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def valid(validate: Callable[[Any], Any], content: Any) -> Any:
    """Return what pydantic makes of some content; raises UserError with the first problem that it finds."""
    from pydantic import ValidationError

    try:
        return validate(content)
    except ValidationError as error:
        raise UserError(problem(error.errors(include_url=False)[0])) from None
    except ValueError as error:  # of `from_json`
        raise UserError(f"not JSON: {error}") from None


def problem(first: Mapping[str, Any]) -> str:
    """Say what is wrong, from one of pydantic's errors: `operators[1].calls: expected a whole number, found 1.5`."""
    where = key_path(first["loc"])
    words = first["msg"]
    value = first["input"]
    match first["type"]:
        case "json_invalid":
            return f"not JSON: {words.removeprefix('Invalid JSON: ')}"
        case "missing":
            return f"{where}: missing"
        case "value_error":
            words = words.removeprefix("Value error, ")
            return f"{where}: {words}" if isinstance(value, dict) else f"{where}: {shown(value)}: {words}"
    for pattern, plainer in PLAINER:
        words = re.sub(pattern, plainer, words)
    return f"{f'{where}: ' if where else ''}{words}, found {shown(value)}"


def key_path(location: tuple[int | str, ...]) -> str:
    """Return a location of pydantic's as a path: `sweep[0].cell`; the names of types in unions are left out."""
    types = ("literal[", "constrained-", "function-", "[key]")
    parts = (part for part in location if not str(part).startswith(types) and part != "int")
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def shown(value: object) -> str:
    """Return a value as messages show it: short, and in characters that every terminal has."""
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."


def clean(value: Any, number: Callable[[str], float] = float) -> Any:
    """Return a value as JSON gives it back, with text that every file can hold; `number` reads numbers with a point."""
    return json.loads(encoded(json.dumps(value, ensure_ascii=False)), parse_float=number)


def rounded(value: Any) -> Any:
    """Return a value with its times rounded to a tenth of a nanosecond, but never to zero: lines stay short."""
    if isinstance(value, float):
        return round(value, 10) or value
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def content_of(path: Path) -> bytes:
    """Return what a file holds; raises UserError if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror}") from None


def complete_lines(path: Path) -> bytes:
    """Return a file without a last line that was cut off; raises UserError if it can't be read."""
    content = content_of(path)
    return content[: content.rfind(b"\n") + 1]


def parsed(text: bytes) -> dict[str, Any]:
    """Return the object that some JSON holds; raises UserError if it holds none."""
    from pydantic_core import from_json

    content: dict[str, Any] = valid(from_json, text)
    if not isinstance(content, dict):
        raise UserError(f"expected an object, found {text[:40].decode(errors='replace')}")
    return content


def read_lines(path: Path, parse: Callable[[dict[str, Any]], Any] = dict) -> Iterator[Any]:
    """Yield what `parse` makes of the object in every complete line of a file.

    Raises UserError with the place of a line that has no object, or that `parse` refuses.
    """
    for number, line in enumerate(complete_lines(path).split(b"\n")[:-1], 1):
        with placed(f"{path}, line {number}"):
            record = parse(parsed(line))
        yield record


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Put a place before the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _line(record: dict[str, Any]) -> bytes:
    """Return a record as a line of JSON, in which lone surrogates are replaced: no reader accepts them."""
    text = json.dumps(record, separators=(",", ":"))
    if SURROGATE in text:  # or two, which stand for one letter, and stay
        text = json.dumps(clean(record), separators=(",", ":"))
    return text.encode() + b"\n"


def append_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Add lines to a file, which is made if there is none; they are in it when this returns.

    An incomplete last line is removed first. If the disk does not take all lines, none of them stays and OSError is
    raised. Lone surrogates in the text are replaced, since no reader accepts them.
    """
    lines = b"".join(_line(record) for record in records)
    with path.open("a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        if end and file.read(1) != b"\n":
            end = path.read_bytes().rfind(b"\n") + 1
            file.truncate(end)
        try:
            while lines:  # a nearly full disk takes a part, and raises only when it is given the rest
                lines = lines[file.write(lines) :]
        except OSError:
            file.truncate(end)
            raise
