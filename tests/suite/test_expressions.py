import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.store.records import AXES, Case
from rnnbench.suite.expressions import expression, parse_only, quoted
from tests.doubles import workload as small

NAMES = st.text(st.characters(), min_size=1, max_size=12)  # lone surrogates too, as names of files have them


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("cell=lstm,gru", ["lstm", "gru"]),
        ("cell='my cell.py:Mine'", ["my cell.py:Mine"]),
        ('cell="my cell.py:Mine",gru', ["my cell.py:Mine", "gru"]),
        ("""cell='a,"b".py:Mine'""", ['a,"b".py:Mine']),
        (r'cell="a\u0027b\n\"c\".py:Mine"', ['a\'b\n"c".py:Mine']),
        ("cell=it's.py:Mine", ["it's.py:Mine"]),
        (r"cell=a\b.py:Mine", [r"a\b.py:Mine"]),
    ],
)
def test_a_value_with_a_space_a_comma_or_a_quote_stands_in_quotes(text: str, values: list[str]) -> None:
    assert parse_only([text, " batch_size=1"]) == {"cell": values, "batch_size": ["1"]}


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_what_is_quoted_is_read_back(names: list[str]) -> None:
    text = f"cell={','.join(map(quoted, names))} phase=training"
    assert text.isprintable()
    assert parse_only([text]) == {"cell": names, "phase": ["training"]}


@given(NAMES)
def test_the_expression_of_a_case_selects_it_when_it_is_pasted_between_single_quotes(name: str) -> None:
    case = Case(f"{name}:Mine", "loop", small.workload(reference="rnn"))
    [pasted] = shlex.split(f"'{expression(case)}'")
    assert parse_only([pasted])["cell"] == [case.cell]


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_expression_selects_nothing(text: str) -> None:
    assert parse_only([]) == {}
    for expressions in ([text], ["cell=gru", text]):
        with pytest.raises(UserError, match="--only is empty; expected for example cell=VALUE"):
            parse_only(expressions, "--only")


@pytest.mark.parametrize(
    "values", ["", ",", "gru,", ",gru", "gru,,lstm", '""', "''", '"my cell', "'my", '"a"b', r'"\x"', "gru,'"]
)
def test_an_empty_or_torn_value_is_an_error(values: str) -> None:
    with pytest.raises(UserError, match="expected cell=VALUE, or cell=VALUE,VALUE; a value that has a space"):
        parse_only([f"cell={values}"])


@given(st.one_of(st.text(max_size=30), st.text("cel=,'\"\\ gru\n", max_size=30).map(lambda text: f"cell={text}")))
def test_any_expression_is_understood_or_refused_in_words(text: str) -> None:
    try:
        only = parse_only([text])
    except UserError as refused:
        assert str(refused).startswith("only ")  # noqa: PT017
    else:
        assert only
        assert set(only) <= set(AXES)
        assert all(value for values in only.values() for value in values)


def test_the_words_of_tables_name_axes() -> None:
    words = "batch=1 length=16 hidden=64,256 output=10 layers=2 type=float32 input=32"
    assert parse_only([words]) == {
        "batch_size": ["1"],
        "seq_len": ["16"],
        "hidden_size": ["64", "256"],
        "output_size": ["10"],
        "num_layers": ["2"],
        "dtype": ["float32"],
        "input_size": ["32"],
    }
    assert parse_only(["input=tokens:100"]) == {"input": ["tokens:100"]}
    assert parse_only(["batch=4"], arguments=["batch"]) == {"batch": ["4"]}  # a constructor's argument has the name
    with pytest.raises(UserError, match="batch_size is named twice"):
        parse_only(["batch=1 batch_size=2"])
