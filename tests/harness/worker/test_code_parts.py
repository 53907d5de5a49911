"""What a part of a file names, and which of its functions a decorator may hand to others."""

from pathlib import Path

import pytest

from rnnbench.harness.worker.code_parts import STATEMENTS, CodePart, parts


def part(folder: Path, text: str, name: str = STATEMENTS) -> CodePart:
    file = folder / "mine.py"
    file.write_text(text)
    parts.cache_clear()
    return parts(str(file))[name]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.b", {"a.b", ".b"}),
        ("getattr(a, 'b')", {".b"}),
        ("attrgetter('b.c')", {".b", ".c"}),
        ("from a import b", {".b"}),
        ("f(x=False)", {"x="}),
        ("open(__file__)", {".__file__"}),
        ("os.path.abspath(__file__)", {".__file__"}),
    ],
)
def test_names_are_those_that_are_taken_and_texts_that_may_be_some(tmp_path: Path, text: str, names: set[str]) -> None:
    assert names <= part(tmp_path, text).names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Path(__file__).parent / 'a.bin'", ".__file__"),
        ("os.path.dirname(os.path.abspath(__file__))", ".__file__"),
        ("Path(__file__).resolve().parents[2]", ".__file__"),
        ("f(weights_only=True)", "weights_only="),
    ],
)
def test_the_folder_of_a_file_and_a_true_option_are_not_among_the_names(tmp_path: Path, text: str, name: str) -> None:
    assert name not in part(tmp_path, text).names


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
    assert part(tmp_path, text).registered == registered


def test_comments_and_docstrings_do_not_change_a_digest_and_all_else_does(tmp_path: Path) -> None:
    base = part(tmp_path, "def f(x):\n    'one'\n    return x + 1", "f").digest
    assert part(tmp_path, "def f(x):\n    'two'\n    return x + 1  # more", "f").digest == base
    assert part(tmp_path, "def f(x):\n    'one'\n    return x + 2", "f").digest != base
