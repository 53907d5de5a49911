"""Whether a case does the work of its reference: a kind, and the numbers behind it.

Records hold a `Parity`, files its parts, and the frames of a run the object. The sentence is made where it is shown, by
`str`. Only frames that users hold have sentences, which `parities` reads.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from rnnbench.store.stored_record import Count, Number, Record, clean

# unknown: nobody has compared yet; differs: the outputs do; unsound: it gives NaN or infinite values; beside unsound:
# its reference does; cached: it takes less time when the same values come again; uncompared: nobody could compare;
# other: words that are no parity.
ParityKind = Literal[
    "unknown", "agrees", "reference", "differs", "unsound", "beside unsound", "cached", "uncompared", "other"
]
LATE = "after timing: "
NOT_FINITE = "values are NaN or infinite"
ONLY_TIMES = "times only"
UNCOMPARED = "not compared: "
CACHED = "a cached result?"
FORMS: dict[ParityKind, str] = {  # of the sentences that `Parity.read` takes, without what `LATE` and a note add
    "agrees": r"agrees( \((?P<types>\w+ against \w+)\))?",
    "reference": rf"is the reference(, (?P<bad>\d+) of (?P<all>\d+) {NOT_FINITE})?",
    "differs": rf"differs by (?P<size>\S+) of the maximum( \((?P<types>\w+ against \w+)\))?: {ONLY_TIMES}"
    "; use rnnbench.same_weights",
    "unsound": rf"(?P<bad>\d+) of (?P<all>\d+) {NOT_FINITE}: {ONLY_TIMES}",
    "beside unsound": rf"not compared, as (?P<why>.*)'s output is NaN or infinite: {ONLY_TIMES}",
    "cached": rf"agrees, but takes (?P<size>\d+)% of the time when values come again: {re.escape(CACHED)}",
}


@dataclass(frozen=True)
class Parity(Record):
    """Whether a case does its reference's work; `str` gives the sentence."""

    kind: ParityKind
    why: str = ""  # why it was not compared; of `beside unsound`, the name of the reference; of `other`, all words
    size: Number = 0.0  # the largest difference over the maximum; of `cached`, the share of the time
    types: tuple[str, str] | None = None  # of its output and of the reference's, if these are two
    unsound: tuple[Count, Count] | None = None  # values that are NaN or infinite, of how many
    is_late: bool = False  # it was so after timing, and not before
    note: str = ""  # what else is known: parameters that no gradient reaches

    def __str__(self) -> str:
        """Return the sentence that is shown: `agrees`, `not compared: there is no reference`."""
        late = LATE if self.is_late else ""
        return f"{late}{self._sentence()}{f'; {self.note}' if self.note else ''}"

    def _sentence(self) -> str:
        apart = "" if self.types is None else f" ({self.types[0]} against {self.types[1]})"
        bad = "" if self.unsound is None else f"{self.unsound[0]} of {self.unsound[1]} {NOT_FINITE}"
        sentences: dict[ParityKind, str] = {
            "unknown": "",
            "agrees": f"agrees{apart}",
            "reference": f"is the reference{f', {bad}' if bad else ''}",
            "differs": f"differs by {self.size:.1e} of the maximum{apart}: {ONLY_TIMES}; use rnnbench.same_weights",
            "unsound": f"{bad}: {ONLY_TIMES}",
            "beside unsound": f"not compared, as {self.why}'s output is NaN or infinite: {ONLY_TIMES}",
            "cached": f"agrees, but takes {self.size:.0%} of the time when values come again: {CACHED}",
            "uncompared": f"{UNCOMPARED}{self.why}",
            "other": self.why,
        }
        return sentences[self.kind]

    @property
    def brief(self) -> str:
        """The sentence without reasons and advice: `not compared`, `differs by 1.0e-03 of the maximum`."""
        if self.kind == "uncompared":
            return "not compared"
        advice = {"cached": f": {CACHED}", "differs": "; use rnnbench.same_weights"}.get(self.kind, "")
        return str(self).removesuffix(advice).removesuffix(f": {ONLY_TIMES}")

    @property
    def word(self) -> str:
        """Whether the outputs agree with the reference's, in a word or two for a narrow column."""
        return {"cached": "cached?", "agrees": "agree"}.get(self.kind, "unknown")

    @property
    def is_equal_work(self) -> bool:
        """Whether the outputs agree, and nothing makes the time mean little."""
        return self.kind == "agrees" and not self.is_late

    @property
    def is_unsound(self) -> bool:
        """Whether it, or its reference, gives values that are NaN or infinite."""
        return self.unsound is not None or self.kind == "beside unsound"

    @property
    def is_only_timed(self) -> bool:
        """Whether the outputs of two live modules say that their times are of unequal work."""
        return self.kind in ("differs", "unsound", "beside unsound")

    def to_json(self) -> dict[str, Any]:
        """Return the kind, and what else is known."""
        facts = {field.name: getattr(self, field.name) for field in fields(self)}
        defaults = {field.name: field.default for field in fields(self)}
        return clean({name: fact for name, fact in facts.items() if fact != defaults[name]})  # type: ignore[no-any-return]

    @staticmethod
    def read(text: str) -> "Parity":
        """Return the parity that has a sentence; it is of the kind `other` if none has."""
        return _read(text)


@cache
def _read(text: str) -> Parity:
    if not text:
        return UNKNOWN
    sentence = text.removeprefix(LATE)
    is_late = sentence != text
    if sentence.startswith(UNCOMPARED):  # its reason may have a semicolon of its own
        return Parity("uncompared", sentence.removeprefix(UNCOMPARED), is_late=is_late)
    for kind, form in FORMS.items():
        if match := re.fullmatch(rf"{form}(; (?P<note>.*))?", sentence, re.DOTALL):
            return _of_parts(kind, match.groupdict(), is_late=is_late)
    return Parity("other", text)


def _of_parts(kind: ParityKind, parts: Mapping[str, str | None], *, is_late: bool) -> Parity:
    size = float(parts.get("size") or 0)
    first, _, second = (parts.get("types") or "").partition(" against ")
    bad = parts.get("bad")
    return Parity(
        kind,
        parts.get("why") or "",
        size / 100 if kind == "cached" else size,
        (first, second) if second else None,
        (int(bad), int(parts["all"] or 0)) if bad else None,
        is_late,
        parts["note"] or "",
    )


UNKNOWN = Parity("unknown")
AGREES = Parity("agrees")
IS_REFERENCE = Parity("reference")


def parities(column: Iterable[object]) -> list[Parity]:
    """Return the parities of a column, which a frame of a user has as sentences; unknown where there is none."""
    return [each if isinstance(each, Parity) else Parity.read(each if isinstance(each, str) else "") for each in column]
