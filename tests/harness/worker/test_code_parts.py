"""What a part of a file names, which parts there are, and which of them differ after an edit."""

from pathlib import Path

import pytest

from rnnbench.harness.worker.code_parts import FileParts, parts


def of_text(folder: Path, text: str) -> FileParts:
    file = folder / "mine.py"
    file.write_text(text)
    parts.cache_clear()
    return parts(str(file))


def names(folder: Path, text: str) -> set[str]:
    return {name for statement in of_text(folder, text).statements for name in statement.code.names}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b", {"a.b", ".b"}),
        ("a.b.c(d)", {"a.b.c", ".b", ".c", "d"}),
        ("f().b.c", {"f", ".b", ".c"}),
        ("getattr(a, 'b')", {".b"}),
        ("attrgetter('b.c')", {".b", ".c"}),
        ("'{0.b}'.format(a)", {".b"}),
        ("def f():\n    from a import b\nf()", {"f"}),
        ("f(x=False)", {"x="}),
        ("open(__file__)", {".__file__"}),
        ("os.path.abspath(__file__)", {".__file__"}),
        ("match a:\n    case b(c=1): pass", {"a", "b", ".c"}),
    ],
)
def test_names_are_those_that_are_taken_and_texts_that_may_be_some(
    tmp_path: Path, text: str, expected: set[str]
) -> None:
    assert expected <= names(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Path(__file__).parent / 'a.bin'", ".__file__"),
        ("os.path.dirname(os.path.abspath(__file__))", ".__file__"),
        ("Path(__file__).resolve().parents[2]", ".__file__"),
        ("f(weights_only=True)", "weights_only="),
        ("a.b.c", "a"),
        ("a.b.c", "a.b"),
    ],
)
def test_the_folder_of_a_file_and_a_true_option_are_not_among_the_names(tmp_path: Path, text: str, name: str) -> None:
    assert name not in names(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "registered"),
    [
        ("@register\ndef f(): pass", ("f",)),
        ("@library.register('f')\ndef f(): pass", ("f",)),
        ("@table['f']\ndef f(): pass", ("f",)),
        ("class C:\n    @register\n    def f(self): pass", ("C",)),
        ("if x:\n    @register\n    class C: pass", ("C",)),
        ("@torch.no_grad()\ndef f(): pass", ()),
        ("class C:\n    @property\n    def f(self): pass", ()),
        ("def f():\n    @register\n    def g(): pass", ()),  # when it is called, which shows
    ],
)
def test_a_decorator_that_is_not_known_may_keep_what_it_decorates(
    tmp_path: Path, text: str, registered: tuple[str, ...]
) -> None:
    assert of_text(tmp_path, text).statements[0].registered == registered


FUNCTION = "def f(x, y=1):\n    'one'\n    z: int = x + 1\n    return torch.tanh(z)"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("'one'", "'two'"),
        ("+ 1", "+ 1  # more"),
        ("x + 1", "(\n        x\n        + 1\n    )"),
    ],
)
def test_comments_and_lines_do_not_change_a_function(tmp_path: Path, old: str, new: str) -> None:
    base = of_text(tmp_path, FUNCTION).parts["f"].digest
    assert of_text(tmp_path, FUNCTION.replace(old, new)).parts["f"].digest == base


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+ 1", "+ 2"),
        ("+ 1", "+ 1.0"),
        ("+ 1", "+ True"),
        ("tanh", "sigmoid"),
        ("torch", "numpy"),
        ("y=1", "y=2"),
        (": int", ": float"),
        ("(x, y=1)", "(x: Tensor, y: int = 1) -> Tensor"),
        ("(x, y=1)", "(x, *, y=1)"),
        ("(x, y=1)", "(x, b=1)"),
        ("def f", "@torch.no_grad()\ndef f"),
        ("return torch.tanh(z)", "return locals()"),
    ],
)
def test_all_else_changes_a_function(tmp_path: Path, old: str, new: str) -> None:
    base = of_text(tmp_path, FUNCTION).parts["f"].digest
    assert of_text(tmp_path, FUNCTION.replace(old, new)).parts["f"].digest != base
