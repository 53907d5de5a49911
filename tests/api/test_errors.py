import random
import subprocess
import sys

import pytest

from rnnbench.api.errors import for_users

# In a process of its own: only the first import of a package draws numbers.
FIRST_CALL = """
import random
import torch
import rnnbench
state = random.getstate()
rnnbench.{call}
assert random.getstate() == state
"""


@pytest.mark.parametrize("ends", [None, ValueError("no"), KeyboardInterrupt()])
def test_what_is_drawn_in_the_call_is_not_drawn_for_the_user(ends: BaseException | None) -> None:
    @for_users
    def draws() -> float:
        number = random.random()
        if ends is not None:
            raise ends
        return number

    random.seed(1)
    expected = random.Random(1).random()
    if ends is None:
        assert draws() == expected
    else:
        with pytest.raises((type(ends), RuntimeError)):
            draws()
    assert random.random() == expected


@pytest.mark.parametrize(
    "call",
    [
        "measure(dict.fromkeys('ab', torch.nn.RNN(2, 2)), torch.zeros(2, 1, 2), {few})",
        "sweep(dict.fromkeys('ab', lambda n: torch.nn.RNN(2, n)), lambda n: torch.zeros(2, 1, 2), n=[2], {few})",
    ],
    ids=["measure", "sweep"],
)
def test_a_first_call_leaves_the_generator_alone(call: str) -> None:
    few = "replicates=2, budget=1"
    subprocess.run([sys.executable, "-c", FIRST_CALL.format(call=call.format(few=few))], check=True)
