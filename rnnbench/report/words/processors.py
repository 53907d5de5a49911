"""A processor's identity in one line."""

from rnnbench.report.words.axes import one_line
from rnnbench.store.processor import Cache, Processor
from rnnbench.text import plural

MEBIBYTE = 1 << 20
TELLING = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "asimd", "sve", "sve2", "bf16", "i8mm")


def identity(processor: Processor) -> str:
    """Its kind, instruction sets, caches, microcode and hypervisor; its name has a row of its own.

    `GenuineIntel family 6 model 207 stepping 2; avx2, fma, 21 more instruction sets; L1 48 KiB for 1 core; ...`
    """
    numbers = {key: getattr(processor, key) for key in ("family", "model", "stepping")}
    kind = [processor.vendor, *(f"{key} {value}" for key, value in numbers.items() if value is not None)]
    parts = [
        " ".join(filter(None, kind)),
        _instruction_sets(processor.instruction_sets),
        ", ".join(_cache(cache) for cache in processor.caches if cache.kind != "instruction"),
        f"microcode {processor.microcode}" if processor.microcode else "microcode not known",
        f"under {processor.hypervisor}" if processor.hypervisor else "no hypervisor known",
    ]
    return one_line("; ".join(filter(None, parts)))


def _instruction_sets(flags: tuple[str, ...]) -> str:
    telling = [flag for flag in TELLING if flag in flags]
    others = len(flags) - len(telling)
    more = "more instruction set" if telling else "instruction set"
    return ", ".join([*telling, *([plural(others, more)] if others else [])])


def _cache(cache: Cache) -> str:
    """`L3 300 MiB for 2 cores`."""
    is_small = cache.bytes < MEBIBYTE or cache.bytes % (MEBIBYTE >> 1)
    size = f"{cache.bytes / 1024:g} KiB" if is_small else f"{cache.bytes / MEBIBYTE:g} MiB"
    return f"L{cache.level} {size} for {plural(cache.cores, 'core')}"
