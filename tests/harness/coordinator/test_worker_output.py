import os
import subprocess

from rnnbench.harness.coordinator.worker_output import KEPT_BYTES, MAX_BYTES, WorkerOutput


def test_of_much_output_the_end_is_kept_and_more_is_added_to_it() -> None:
    output = WorkerOutput()
    writer = os.dup(output.fileno())
    os.write(writer, b"x" * MAX_BYTES)
    output.cut()
    assert os.fstat(writer).st_size == MAX_BYTES
    os.write(writer, b"\nlast words\n\n")
    output.cut()
    assert os.fstat(writer).st_size == KEPT_BYTES
    assert output.last_line() == "last words"
    os.write(writer, b"more\xff\n")
    assert output.last_line() == "more\ufffd"
    os.close(writer)
    output.close()


def test_a_process_appends_to_it_and_nothing_said_is_an_empty_line() -> None:
    output = WorkerOutput()
    assert output.last_line() == ""
    subprocess.run(["sh", "-c", "echo one >&2; echo two >&2"], stderr=output.fileno(), check=True)
    assert output.last_line() == "two"
    output.close()
