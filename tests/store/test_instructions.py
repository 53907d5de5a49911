"""Which part of a call a function belongs to, and what counts say together."""

import pytest

from rnnbench.store.instructions import FunctionName, InstructionCounts


@pytest.mark.parametrize(
    ("file", "function", "part"),
    [
        ("libpython3.11.so.1.0", "_PyEval_EvalFrameDefault", "python"),
        ("python3.12", "_PyObject_Malloc", "python"),
        ("_pickle.cpython-311-x86_64-linux-gnu.so", "dump", "python"),
        ("libtorch_python.so", "THPVariable_add", "dispatch"),
        ("libtorch_cpu.so", "at::TensorIteratorBase::build(at::TensorIteratorConfig&)", "dispatch"),
        ("libc10.so", "c10::intrusive_ptr<c10::TensorImpl>::reset_()", "dispatch"),
        ("ld-linux-x86-64.so.2", "__tls_get_addr", "dispatch"),
        ("libtorch_cpu.so", "mkl_blas_avx2_xsgemv_t", "kernels"),
        ("libtorch_cpu.so", "Sleef_expf8_u10avx2", "kernels"),
        ("libtorch_cpu.so", "dnnl::impl::cpu::x64::jit_avx2_gemm()", "kernels"),
        ("???", "???", "kernels"),
        ("libc.so.6", "__memcpy_avx_unaligned_erms", "kernels"),
        ("libc.so.6", "_int_malloc", "allocator"),
        ("libc.so.6", "free", "allocator"),
    ],
)
def test_a_function_belongs_to_a_part(file: str, function: str, part: str) -> None:
    assert FunctionName(file, function).part == part


def test_the_round_with_the_fewest_counts_and_the_allocator_is_apart() -> None:
    functions = {FunctionName("libc.so.6", "malloc"): 30, FunctionName("libtorch_cpu.so", "mkl_x"): 100}
    counts = InstructionCounts("callgrind", (104, 100, 102), functions)
    assert (counts.outside, counts.allocator, counts.total, counts.spread) == (100, 30, 130, 2)
    assert counts.parts == {"python": 0, "dispatch": 0, "kernels": 100, "allocator": 30}


def test_a_counter_that_sees_no_functions_has_no_parts() -> None:
    counts = InstructionCounts("perf_event", (7, 5))
    assert counts.total == 5
    assert not any(counts.parts.values())
