"""Which statements of a module do nothing but bind a name."""

import ast

import pytest

from rnnbench.harness.worker.only_binds import bound_names, foreign_names, names_bound_often, never_runs


def statement(text: str) -> ast.stmt:
    return ast.parse(text).body[0]


@pytest.mark.parametrize(
    ("text", "names", "foreign"),
    [
        ("X = 1", ("X",), set()),
        ("X = -2 ** 31", ("X",), set()),
        ("X: int = (1, 'a')", ("X",), set()),
        ("A = B = {'a': run, 1: [slow]}", ("A", "B"), set()),
        ("A, B = 1, 2", ("A", "B"), set()),
        ("f = lambda x, y=1: run(x)", ("f",), set()),
        ("relu = torch.relu", ("relu",), {"torch"}),
        ("def f(x, y=1, *, z=None): run()", ("f",), set()),
        ("def f(x: Optional[Tensor]) -> 'int': run()", ("f",), {"Optional"}),
        ("@torch.no_grad()\ndef f(): run()", ("f",), {"torch"}),
        ("class C(nn.Module):\n    'about'\n    a = 1\n    def f(self): run()", ("C",), set()),
        ("class C(Generic[T]): pass", ("C",), {"Generic"}),
        (
            "class C:\n    @property\n    def f(self): pass\n    @f.setter\n    def f(self, x): pass",
            ("C",),
            {"property"},
        ),
    ],
)
def test_a_value_a_function_and_a_plain_class_are_only_bound(
    text: str, names: tuple[str, ...], foreign: set[str]
) -> None:
    assert bound_names(statement(text)) == names
    assert foreign_names(statement(text)) == foreign


@pytest.mark.parametrize(
    "text",
    [
        "_ = set_num_threads(1)",
        "gc.disable()",
        "lib = torch.library.Library('mine', 'DEF')",
        "torch.ops.load_library('mine.so')",
        "TABLE['a'] = 1",
        "torch.backends.flag = True",
        "X += 1",
        "X = [f(1)]",
        "X = dict()",
        "X = {key: 1}",
        "X = f'{a}'",
        "X = a + b",
        "X = [a for a in b]",
        "X = torch._dynamo",
        "(X := 1)",
        "del X",
        "for x in y: pass",
        "if x: y = 1",
        "try: import a\nexcept ImportError: a = None",
        "@register\ndef f(): pass",
        "@lru_cache(maxsize=size())\ndef f(): pass",
        "def f(x=make()): pass",
        "def f(x: register(3)): pass",
        "class C(metaclass=M): pass",
        "class C(make()): pass",
        "class C:\n    a = make()",
        "class C:\n    run()",
        "class C:\n    @register\n    def f(self): pass",
    ],
)
def test_all_else_does_more(text: str) -> None:
    assert foreign_names(statement(text)) is None


def test_the_order_of_names_that_are_bound_more_than_once_matters() -> None:
    text = "A = 1\nB = 2\nif x: B = 3\nC = 1\ndef f():\n    global C\nlen = 1\nimport d\ndef d(): pass\nE = 1"
    assert names_bound_often(ast.parse(text)) >= {"B", "C", "d", "len"}
    assert not {"A", "E"} & names_bound_often(ast.parse(text))


def test_blocks_that_no_import_runs_are_known() -> None:
    assert never_runs(statement("if __name__ == '__main__': run()"))
    assert never_runs(statement("if TYPE_CHECKING: import a"))
    assert not never_runs(statement("if __name__ == '__main__': run()\nelse: walk()"))
