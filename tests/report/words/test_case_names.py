from rnnbench.report.words.case_names import names
from rnnbench.store.pytest_benchmark import Benchmark
from rnnbench.store.records import Case
from tests.doubles.workload import case, reference_case, workload


def test_a_name_has_just_the_axes_that_differ() -> None:
    cases = [case("lstm", batch_size=1, phase="training"), case("lstm", batch_size=16, phase="training")]
    called = names(cases)
    assert [called.name(subject) for subject in cases] == [
        "lstm loop training, batch 1",
        "lstm loop training, batch 16",
    ]
    assert called.shared == "length 4, input 5, hidden 6, output 2, 1 layer, cpu, float64, 1 thread, many_to_many"


def test_the_number_of_layers_is_said_where_a_cell_has_several() -> None:
    cases = [case("deep"), case("vanilla"), reference_case(num_layers=1), reference_case(num_layers=3)]
    assert [names(cases).name(subject) for subject in cases] == [
        "deep loop inference",
        "vanilla loop inference",
        "torch.nn.RNN inference, 1 layer",
        "torch.nn.RNN inference, 3 layers",
    ]


def test_one_cell_against_two_layers_of_torch_has_two_names() -> None:
    cases = [Case("mine.py:Cell", "loop", workload(reference=layer)) for layer in ("rnn", "gru")]
    assert [names(cases).name(subject) for subject in cases] == [
        "mine.py:Cell loop inference, rnn",
        "mine.py:Cell loop inference, gru",
    ]


def test_a_benchmark_of_somebody_else_has_the_name_of_its_author_on_one_line() -> None:
    other = Benchmark("bench.py::test_sum[1\x1b\n2]", "test_sum", "", None, {}, {}, "")
    called = names([other, case("lstm")])
    assert called.name(other) == "bench.py::test_sum[1� 2]"
    assert called.name(case("lstm")) == "lstm loop inference"
