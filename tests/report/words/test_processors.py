"""A processor in one line."""

import pytest

from rnnbench.report.words.processors import identity
from rnnbench.store.processor import Cache, Processor

FLAGS = ("amx_tile", "avx", "avx2", "avx512f", "fma", "sse4_2")
CACHES = (
    Cache(1, "data", 48 << 10, 1),
    Cache(1, "instruction", 32 << 10, 1),
    Cache(2, "unified", 1280 << 10, 1),
    Cache(3, "unified", 36608 << 10, 2),
)


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (
            Processor("Xeon", "GenuineIntel", "6", "207", "2", FLAGS, CACHES, "0xb", "KVM"),
            "GenuineIntel family 6 model 207 stepping 2; avx2, fma, avx512f, amx_tile, 2 more instruction sets; "
            "L1 48 KiB for 1 core, L2 1280 KiB for 1 core, L3 36608 KiB for 2 cores; microcode 0xb; under KVM",
        ),
        (Processor(caches=(Cache(2, "unified", 3 << 19, 4),)), "L2 1.5 MiB for 4 cores"),
        (Processor(vendor="a\nb"), "a b"),
        (Processor(instruction_sets=("sse4_1", "sse4_2")), "2 instruction sets"),
        (Processor(instruction_sets=("avx", "avx2")), "avx2, 1 more instruction set"),
        (Processor(), ""),
    ],
)
def test_what_is_known_of_a_processor_is_one_line(processor: Processor, words: str) -> None:
    unknown = "" if processor.microcode else "microcode not known; no hypervisor known"
    assert identity(processor) == "; ".join(filter(None, [words, unknown]))
