"""What axes, cases, groups and processors are called."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.report.words.names import case_name, group_name, identity, names
from rnnbench.store.records import Case
from rnnbench.store.run_info import Cache, Processor
from rnnbench.suite import suites
from tests.doubles import workload as small
from tests.doubles.workload import case, reference_case, workload


def test_a_name_has_just_the_axes_that_differ() -> None:
    cases = [case("lstm", batch_size=1, phase="training"), case("lstm", batch_size=16, phase="training")]
    labels, shared = names(cases)
    assert list(labels.values()) == [
        "lstm loop training, batch 1",
        "lstm loop training, batch 16",
    ]
    assert shared == "length 4, input 5, hidden 6, output 2, 1 layer, cpu, float64, 1 thread, many_to_many"


def test_a_short_name_leaves_out_what_the_axes_beside_it_tell() -> None:
    cases = [Case(f"my.py:{cell}", "loop", workload(batch_size=size)) for cell in ("A", "B") for size in (1, 16)]
    labels, shared = names(cases, is_short=True)
    assert list(labels.values()) == ["A, batch 1", "A, batch 16", "B, batch 1", "B, batch 16"]
    assert shared.startswith("loop, inference, ")
    labels, _ = names(
        [*cases, case("vanilla", phase="training"), Case("other.py:A", "loop", workload())], is_short=True
    )
    assert list(labels.values())[::4] == ["my.py:A inference, batch 1", "vanilla training, batch 3"]


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        (
            [case("deep"), case("vanilla"), reference_case(num_layers=1), reference_case(num_layers=3)],
            [
                "deep loop inference",
                "vanilla loop inference",
                "torch.nn.RNN inference, 1 layer",
                "torch.nn.RNN inference, 3 layers",
            ],
        ),
        (
            [Case("mine.py:Cell", "loop", workload(reference=layer)) for layer in ("rnn", "gru")],
            ["mine.py:Cell loop inference, rnn", "mine.py:Cell loop inference, gru"],
        ),
    ],
)
def test_layers_and_references_are_named_where_they_differ(cases: list[Any], told: list[str]) -> None:
    labels, _ = names(cases)
    assert [labels[case.key] for case in cases] == told


SIZES: dict[str, Any] = {"batch_size": 32, "seq_len": 16, "hidden_size": 64, "input_size": 64, "output_size": 10}
USUAL: dict[str, Any] = {"dtype": "float32", **SIZES}
LOADING: dict[str, Any] = {"reference": "windows", "phase": "loading", "samples": 1024, "workers": 2, "batch_size": 4}


@pytest.mark.parametrize(
    ("case", "name", "group"),
    [
        (
            small.case("lstm", phase="training", **USUAL),
            "lstm-loop-training-batch32-length16-hidden64",
            "torch.nn.LSTM training, batch 32, length 16, hidden 64",
        ),
        (
            small.case("deep", "hoisted", **USUAL | {"dtype": "float64", "threads": 2, "device": "cuda:1"}),
            "deep-hoisted-inference-batch32-length16-hidden64-layers3-float64-cuda:1-threads2",
            "torch.nn.RNN inference, batch 32, length 16, hidden 64, 3 layers, float64, cuda:1, 2 threads",
        ),
        (
            small.reference_case("gru", **USUAL, bidirectional=True, dropout=0.1, lengths="varied", output_len=5),
            "torch.nn.GRU-torch.nn-inference-batch32-length16-hidden64-decoded5-bidirectional-dropout0.1-varied-lengths",
            "torch.nn.GRU inference, batch 32, length 16, hidden 64, decoded length 5, two directions, dropout 0.1, "
            "varied lengths",
        ),
        (
            Case("windows", "per_item", small.workload(**USUAL | LOADING)),
            "windows-per_item-loading-batch4-length16-samples1024-workers2",
            "windows loading, batch 4, length 16, 1,024 samples, 2 workers",
        ),
        (
            Case("my.py:Mine", "loop", small.workload(**USUAL, reference="none")),
            "my.py:Mine-loop-inference-against-none-batch32-length16-hidden64",
            "no reference inference, batch 32, length 16, hidden 64",
        ),
    ],
)
def test_a_case_and_its_group_are_called_by_what_is_not_usual(case: Case, name: str, group: str) -> None:
    assert case_name(case) == name
    assert group_name(case.workload) == group


@pytest.mark.parametrize("suite", [path.stem for path in Path("suites").glob("*.toml")])
def test_no_two_cases_or_groups_of_a_suite_are_called_alike(suite: str) -> None:
    groups = suites.read_suite(suite).groups({}, None)
    cases = [case for group in groups for case in group.cases]
    assert len({case_name(case) for case in cases}) == len(cases)
    assert len({group_name(group.workload) for group in groups}) == len(groups)


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
        (Processor(caches=(Cache(2, "unified", 3 << 19, 4),)), "L2 1536 KiB for 4 cores"),
        (Processor(vendor="a\nb"), "a b"),
        (Processor(instruction_sets=("sse4_1", "sse4_2")), "2 instruction sets"),
        (Processor(instruction_sets=("avx", "avx2")), "avx2, 1 more instruction set"),
        (Processor(), ""),
    ],
)
def test_what_is_known_of_a_processor_is_one_line(processor: Processor, words: str) -> None:
    unknown = "" if processor.microcode else "microcode not known; no hypervisor known"
    assert identity(processor) == "; ".join(filter(None, [words, unknown]))
