"""What all stored records share: they are dataclasses, and pydantic reads them back and checks every value.

Extra keys are ignored, so that an older rnnbench reads what a newer one wrote.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le, Lt

from rnnbench.errors import UserError
from rnnbench.text import encoded

MAX_INTEGER = 1 << 63  # frames hold whole numbers below this
MAX_SHOWN_LENGTH = 40  # characters of a wrong value
Size = Annotated[int, Ge(1), Lt(MAX_INTEGER)]
Count = Annotated[int, Ge(0), Lt(MAX_INTEGER)]
HUGE = 1e300
Number = Annotated[float, Ge(-HUGE), Le(HUGE)]  # no NaN
Seconds = Annotated[float, Ge(0), Le(HUGE)]
Positive = Annotated[float, Gt(0), Le(HUGE)]


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


PLAINER = (  # the words of messages in place of pydantic's
    (r"Input should be", "expected"),
    (r"a valid integer", "a whole number"),
    (r"a valid string", "text"),
    (r"a valid dictionary or instance of \w+", "a table"),
    (r"a valid (\w+)", r"a \1"),
    (r"(less|greater) than or equal to -?\d{20,}", "a finite number"),
    (r"greater than or equal to (\S+)", r"\1 or more"),
    (r"less than or equal to (\S+)", r"at most \1"),
    (r"^\w+ should have at least 1 item .*", "expected at least one value"),
)


def problem(first: Mapping[str, Any]) -> str:
    """Say what is wrong, from one of pydantic's errors: `operators[1].calls: expected a whole number, found 1.5`."""
    where, words, value = key_path(first["loc"]), first["msg"], first["input"]
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


def rounded(time: str) -> float:
    """Return a time rounded to a tenth of a nanosecond, but never to zero: lines stay short."""
    return round(float(time), 10) or float(time)
