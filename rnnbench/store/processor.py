"""What identifies a processor, as far as the system tells it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rnnbench.store.record import Count, Record, Size
from rnnbench.text import writable

# Beginnings of the flags that change how fast arithmetic can be. Some names mean something else on the other kind:
# `sme` encrypts memory on x86.
X86_FLAGS = ("avx", "fma", "amx", "sse4", "f16c")
ARM_FLAGS = ("neon", "asimd", "fphp", "sve", "sme", "i8mm", "bf16")
UNKNOWN_HYPERVISOR = "unknown hypervisor"  # there is one, and it has no known name
MAX_LENGTH = 200  # characters of a text from another tool


@dataclass(frozen=True)
class Cache:
    """One cache as a core sees it."""

    level: Count
    kind: str  # data, instruction or unified
    bytes: Count
    cores: Size  # logical cores that share it


@dataclass(frozen=True)
class Processor(Record):
    """The identity of a processor; None, or nothing in a list, stands for what is not known.

    Numbers are text as the system writes them. ARM has no model or stepping: `model` is its part number, `stepping` its
    variant and revision.
    """

    name: str | None = None
    vendor: str | None = None
    family: str | None = None
    model: str | None = None
    stepping: str | None = None
    instruction_sets: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()
    microcode: str | None = None
    hypervisor: str | None = None  # None on bare metal too


def of_py_cpuinfo(facts: Mapping[str, Any]) -> Processor:
    """The processor as the package py-cpuinfo describes it, of which only text and whole numbers count."""
    flags = facts.get("flags")
    return Processor(
        name=_text(facts.get("brand_raw") or facts.get("brand")),  # `brand` in older versions
        vendor=_text(facts.get("vendor_id_raw")),
        family=_text(facts.get("family")),
        model=_text(facts.get("model")),
        stepping=_text(facts.get("stepping")),
        instruction_sets=instruction_sets(filter(None, map(_text, flags))) if isinstance(flags, list) else (),
    )


def _text(value: object) -> str | None:
    return writable(str(value)[:MAX_LENGTH]) if isinstance(value, str | int) else None


def instruction_sets(flags: Iterable[str]) -> tuple[str, ...]:
    """Those of a processor's flags that change how fast arithmetic can be, sorted."""
    known = set(flags)
    beginnings = ARM_FLAGS if known & {"asimd", "neon"} else X86_FLAGS
    return tuple(sorted(flag for flag in known if flag.startswith(beginnings)))
