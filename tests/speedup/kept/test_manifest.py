"""Whether a folder of kept ways fits a machine, and whether it is whole: all before any code is loaded."""

import json
import platform
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rnnbench
from rnnbench.errors import UserError
from rnnbench.speedup.kept import code as kept_code
from rnnbench.speedup.kept import manifest
from rnnbench.speedup.kept.manifest import Machine
from tests.doubles.packages import installed

INTEL = "sse2 avx avx2 fma bmi2 avx512f avx512dq avx512bw avx512vl avx512_bf16 amx_tile"
AMD = "sse2 sse4a avx avx2 fma bmi2 avx512f avx512dq avx512bw avx512vl avx512_bf16"
OLDER = "sse2 avx avx2 fma bmi2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package, which nobody may load."""
    row = {"seq_len": 5, "batch_size": 3, "input_size": 4, "dtype": "float32", "device": "cpu", "threads": 1}
    with installed(monkeypatch):
        found = rnnbench.fastest(
            nn.GRU(4, 6), torch.randn(5, 3, 4), ways=[{**row, "phase": "inference", "way": "compiled"}], progress=False
        )
        found.save(tmp_path / "kept", progress=False)

    def load(file: Path) -> Any:
        pytest.fail(f"{file} was loaded")

    monkeypatch.setattr(kept_code, "run_package", load)
    return tmp_path / "kept"


def of_processor(name: str, flags: str) -> str:
    """Return what /proc/cpuinfo says of a machine with two cores."""
    core = f"processor\t: 0\nmodel name\t: {name}\nflags\t\t: fpu {flags} hypervisor\n"
    return f"{core}\n{core}"


def changed(folder: Path, change: Any) -> None:
    file = folder / manifest.MANIFEST
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


@pytest.mark.parametrize(
    ("saved", "here", "words"),
    [
        (INTEL, OLDER, "with the instructions amx_tile, avx512_bf16, avx512bw and 3 more, which"),
        (INTEL, AMD, "with the instructions amx_tile, which this processor (Here) lacks"),
        (AMD, INTEL, "with the instructions sse4a, which this processor (Here) lacks"),
        (AMD, OLDER, "avx512_bf16, avx512bw, avx512dq and 3 more"),
        (OLDER, INTEL, ""),
        (AMD, AMD, ""),
    ],
)
def test_code_goes_only_to_a_processor_that_has_all_of_its_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: str, here: str, words: str
) -> None:
    monkeypatch.setattr(manifest, "CPUINFO", tmp_path / "cpuinfo")
    machines = []
    for name, flags in (("There", saved), ("Here", here)):
        (tmp_path / "cpuinfo").write_text(of_processor(name, flags))
        machines.append(Machine.here())
    reason = machines[1].why_not(machines[0])
    assert words in reason
    assert bool(reason) == bool(words)
    assert "hypervisor" not in machines[0].flags


def test_a_processor_of_arm_tells_its_instructions_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd sve bf16\nCPU part\t: 0xd4f\n")
    assert Machine.here().flags == ("asimd", "bf16", "fp", "sve")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"torch": "2.1.0"}, "its code was compiled for torch 2.1.0, and this is torch"),
        ({"torch_commit": "0"}, " of another build"),
        ({"system": "Darwin", "architecture": "arm64"}, f"is for Darwin on arm64, and this is {platform.system()} on"),
        ({"flags": ["avx9000"]}, "with the instructions avx9000, which this processor"),
    ],
)  # fmt: skip
def test_a_folder_of_another_machine_is_refused_before_its_code_is_loaded(
    folder: Path, other: dict[str, Any], words: str
) -> None:
    changed(folder, lambda raw: raw["machine"].update(other))
    with pytest.raises(UserError, match="save it again here: ") as refusal:
        rnnbench.load_fastest(folder)
    assert words in str(refusal.value)


@pytest.mark.parametrize("name", ["package-1.pt2", "weights.pt", "trial.pt"])
def test_a_file_that_is_missing_cut_or_changed_is_named(folder: Path, name: str) -> None:
    file = folder / name
    whole = file.read_bytes()
    for content in (whole[:-1], b"", bytes([whole[0] ^ 1]) + whole[1:]):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"{name} is damaged or was changed; copy the folder again"):
            rnnbench.load_fastest(folder)
    file.unlink()
    with pytest.raises(UserError, match=f"{name} is missing; copy the folder again"):
        rnnbench.load_fastest(folder)


def test_a_manifest_that_is_none_is_told_apart_from_one_of_another_layout(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fastest\.json can't be read"):
        rnnbench.load_fastest(tmp_path)
    with pytest.raises(UserError, match=r"fastest\.json can't be read"):
        rnnbench.load_fastest(tmp_path / "nothing")
    text = (folder / manifest.MANIFEST).read_text()
    raw = json.loads(text)
    changes: tuple[dict[str, Any], ...] = ({"shapes": []}, {"shapes": 2 * raw["shapes"]}, {"kind": "block"})
    cuts = (text[: len(text) // 2], "[]", "{}", '{"format": 5, "rnnbench": ""}', text.replace('"shapes"', '"forms"'))
    changed_texts = [json.dumps({**raw, **change}) for change in changes]
    for damaged in (*cuts, *changed_texts, "[" * 100_000, '{"format": ' + "[" * 100_000):
        (folder / manifest.MANIFEST).write_text(damaged)
        with pytest.raises(UserError, match=r"fastest\.json is damaged"):
            rnnbench.load_fastest(folder)
    (folder / manifest.MANIFEST).write_text(text)
    changed(folder, lambda raw: raw.update(format=99))
    with pytest.raises(UserError, match=r"has the layout 99, of rnnbench .*, and this rnnbench reads the layout 5"):
        rnnbench.load_fastest(folder)


@pytest.mark.parametrize("part", ["layer", "weights"])
def test_a_name_in_the_manifest_that_stands_for_nothing_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(kept_code, "run_package", lambda file: None)
    if part == "layer":
        changed(folder, lambda raw: raw.update(layer={"name": "Nothing"}))
    else:
        changed(folder, lambda raw: raw.update(takes={"nowhere.weight": [[6], [1], "float32"]}))
    with pytest.raises(UserError, match=r"fastest\.json is damaged"):
        rnnbench.load_fastest(folder)


def test_a_file_outside_of_the_folder_is_never_read(folder: Path) -> None:
    changed(folder, lambda raw: raw["files"].update({"../secret": ""}))
    (folder.parent / "secret").write_text("")
    with pytest.raises(UserError, match="secret is missing"):
        rnnbench.load_fastest(folder)


@pytest.mark.parametrize("name", ["float", "lstm"])
def test_other_code_of_rnnbench_is_refused(folder: Path, name: str) -> None:
    changed(folder, lambda raw: raw.update(libraries={name: ["products.so", "0"]}))
    with pytest.raises(UserError, match=r"the folder needs C code of rnnbench .*, which this version lacks"):
        rnnbench.load_fastest(folder)


def test_code_that_can_not_be_loaded_is_an_error_in_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(file: Path) -> Any:
        raise RuntimeError("Error in dlopen: version `GLIBC_2.99' not found\nException raised from here")

    monkeypatch.setattr(kept_code, "run_package", load)
    with pytest.raises(UserError, match=r"can't be loaded here: Error in dlopen: version .GLIBC_2.99' not found; save"):
        rnnbench.load_fastest(folder)


def test_what_is_written_is_what_is_read(folder: Path) -> None:
    about = manifest.read_manifest(folder)
    assert about.machine == Machine.here()
    about.write(folder)
    assert manifest.read_manifest(folder) == about
    assert asdict(about)["shapes"][0]["compile_seconds"] == 2.0
    changed(folder, lambda raw: raw["machine"].update(flags=[]))
    assert manifest.read_manifest(folder) == replace(about, machine=replace(about.machine, flags=()))


def test_the_loader_that_torch_documents_is_used_where_the_direct_one_is_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch._inductor

    def missing(*arguments: object) -> None:
        raise TypeError("incompatible constructor arguments")

    given: list[Any] = []
    monkeypatch.undo()
    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", missing)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda file: lambda *all: given.append((file, all)))
    one = torch.ones(1)
    kept_code.run_package(tmp_path / "one.pt2")(one, [one], [one, one])
    assert given == [(str(tmp_path / "one.pt2"), (one, (one,), (one, one)))]
