"""Writing a folder of kept ways: nothing of others is overwritten, and nothing half-written is left."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.cells.gru import GRUCell
from rnnbench.errors import UserError
from rnnbench.speedup.kept import module as kept_module
from rnnbench.speedup.kept import saving
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from tests.doubles.packages import FakeCompiler, installed
from tests.speedup.kept.test_module import Plain, row

pytestmark = pytest.mark.usefixtures("one_thread")
INPUT = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCompiler]:
    """Compiled code is plain Python."""
    with installed(monkeypatch) as compiler:
        yield compiler


def fast(module: nn.Module, *rows: dict[str, Any], input: Tensor = INPUT) -> Any:
    return rnnbench.fastest(module, input, ways=rows or [row(input, "compiled")], progress=False)


@pytest.mark.usefixtures("fake")
def test_only_a_new_or_an_empty_folder_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "here").mkdir()
    (tmp_path / "to-here").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")  # an empty folder that can't be replaced, nor can what links to one
    found = fast(nn.GRU(4, 6))
    for name in ("empty", "new", "deep/er"):
        assert found.save(tmp_path / name, progress=False) == tmp_path / name
        rnnbench.load_fastest(tmp_path / name)
    for name in ("mine", "file", "link", "new", "here", "to-here"):
        with pytest.raises(UserError, match=f"{name} already exists; give the name of a new folder"):
            found.save(tmp_path / name, progress=False)
    with pytest.raises(UserError, match="can't be written"):
        found.save(tmp_path / "file" / "below", progress=False)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "deep", "empty", "file", "here", "link", "mine", "new", "to-here",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt("stop"), pytest.raises(KeyboardInterrupt)),
        (OSError(28, "No space left on device"), pytest.raises(UserError, match="No space left on device")),
    ],
)
def test_an_interrupted_or_failed_save_leaves_nothing(
    tmp_path: Path, fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: Any
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(kept_module, "load", fail)
    with raised:
        fast(nn.GRU(4, 6)).save(tmp_path / "kept", progress=False)
    assert not list(tmp_path.iterdir())
    assert fake.made


def test_a_full_disk_is_an_error_with_the_folder_and_nothing_half_written_is_left(
    tmp_path: Path, fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of the bytes of a file stands for the disk; torch itself raises RuntimeError then."""

    def fill(*arguments: Any) -> Any:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            return save(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    save = saving._Saving.manifest
    monkeypatch.setattr(saving._Saving, "manifest", fill)
    with pytest.raises(UserError, match="kept: can't be written: File too large; give another folder"):
        fast(nn.GRU(4, 64), row(INPUT, "compiled")).save(tmp_path / "kept", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [RuntimeError("no graph\nmore"), Skip("torch.compile does not work on cpu")])
def test_what_can_not_be_compiled_is_kept_as_given_with_its_reason_or_refused(
    tmp_path: Path, fake: FakeCompiler, error: Exception
) -> None:
    fake.error = error
    folder = fast(nn.GRU(4, 6)).save(tmp_path / "layer", progress=False)
    [shape] = rnnbench.load_fastest(folder).manifest.shapes
    assert (shape.way, shape.packages) == ("as given", {})
    assert str(error).split("\n", maxsplit=1)[0] in shape.reason
    with pytest.raises(
        UserError, match=r"nothing to save: Plain runs as given, and no code .* Keep its state_dict"
    ) as said:
        fast(Plain()).save(tmp_path / "cell", progress=False)
    assert shape.reason in str(said.value)
    assert not (tmp_path / "cell").exists()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "more", [{"phase": "training"}, {"device": "cuda:0"}, {"dtype": "float32, autocast to bfloat16"}]
)
def test_what_is_no_inference_on_a_cpu_is_not_kept(tmp_path: Path, more: dict[str, Any]) -> None:
    other = row(INPUT, "compiled", **more)
    with pytest.raises(UserError, match="nothing to save: only inference on cpu, without autocast, can be kept"):
        fast(nn.GRU(4, 6), other).save(tmp_path / "kept", progress=False)
    folder = fast(nn.GRU(4, 6), other, row(INPUT, "compiled")).save(tmp_path / "kept", progress=False)
    assert len(rnnbench.load_fastest(folder).manifest.shapes) == 1


def test_shapes_and_pieces_of_one_size_share_a_package_and_its_seconds(tmp_path: Path, fake: FakeCompiler) -> None:
    rows = [row(torch.empty(steps, 3, 4), "compiled") for steps in (64, 128, 130)]
    loaded = rnnbench.load_fastest(fast(GRUCell(4, 6), *rows).save(tmp_path / "kept", progress=False))
    assert [shape.pieces for shape in loaded.manifest.shapes] == [(64,), (64, 64), (44, 44, 42)]
    assert [shape.compile_seconds for shape in loaded.manifest.shapes] == [2.0, 0.0, 4.0]
    assert len(fake.made) == 3
    assert len(list((tmp_path / "kept").glob("*.pt2"))) == 3
    assert "Fastest ways to run GRUCell" in repr(loaded)


def test_a_save_leaves_the_module_as_it_was(tmp_path: Path, fake: FakeCompiler) -> None:
    cell = Plain()
    cell.inner.eval()
    numbers, values = torch.random.get_rng_state(), {name: each.clone() for name, each in cell.state_dict().items()}
    fast(cell).save(tmp_path / "kept", progress=False)
    assert (cell.training, cell.inner.training) == (True, False)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in cell.parameters())
    torch.testing.assert_close(dict(cell.state_dict()), values, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert fake.made


def test_a_machine_without_a_compiler_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: str) -> None:
        raise Skip("there is no compiler")

    monkeypatch.setattr(compiled, "check", missing)
    with pytest.raises(UserError, match="there is no compiler"):
        fast(Plain()).save(tmp_path / "kept", progress=False)


@pytest.mark.usefixtures("fake")
def test_two_that_save_into_one_folder_leave_the_first_and_tell_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fast(nn.GRU(4, 6))
    load = kept_module.load

    def load_while_another_saves(folder: Path) -> Any:
        monkeypatch.setattr(kept_module, "load", load)
        found.save(tmp_path / "kept", progress=False)
        return load(folder)

    monkeypatch.setattr(kept_module, "load", load_while_another_saves)
    with pytest.raises(UserError, match="kept: can't be written: Directory not empty"):
        found.save(tmp_path / "kept", progress=False)
    rnnbench.load_fastest(tmp_path / "kept")
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
