"""Ctrl-C where Python can't raise it, and where others make another error of it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

AT_AN_END = """
import signal, time, weakref
from rnnbench import interrupts
interrupts.raise_interrupts()
class Ends:
    {method}
def ended(reference):
    signal.raise_signal(signal.{number})
ends = Ends()
reference = weakref.ref(ends, {callback})
del ends
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("raised")
"""
MADE_ANOTHER_ERROR = """
import os, signal, sys
class AtImport:
    def find_spec(self, name, *rest):
        if name == "{name}":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise RuntimeError("a schema can't be built") from None
sys.meta_path.insert(0, AtImport())
sys.argv = ["rnnbench", "run", "quick"]
from rnnbench.__main__ import main
main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("method", "callback"), [("pass", "ended"), ("__del__ = lambda self: ended(self)", "None")], ids=["callback", "del"]
)
def test_an_interrupt_at_the_end_of_an_object_is_raised_a_moment_later(method: str, callback: str, number: str) -> None:
    code = AT_AN_END.format(method=method, callback=callback, number=number)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("raised\n", "")


def test_other_errors_at_the_end_of_an_object_are_printed_as_ever() -> None:
    code = AT_AN_END.format(method="pass", callback="lambda reference: 1 / 0", number="SIGINT")
    code = code.replace("time.sleep(60)", "pass")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("name", ["rnnbench.cli.check", "rnnbench.suite.suites"])
def test_an_interrupt_that_a_library_turns_into_an_error_is_one_line(tmp_path: Path, name: str) -> None:
    code = MADE_ANOTHER_ERROR.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (130, -signal.SIGINT)
    assert done.stderr.strip() == "rnnbench: interrupted"
