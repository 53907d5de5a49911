"""Modules are used as people use them, in each way that `fastest` may hand back, and give what they give without."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import rnnbench
from rnnbench.speedup.ways import WayName
from tests.speedup.test_ways import INPUT, fast

pytestmark = pytest.mark.usefixtures("one_thread")
DIRECTION = torch.randn(7, 3, 6, generator=torch.Generator().manual_seed(1))


class Whole(nn.Module):
    """A module that runs a whole sequence by code of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(5, 6)
        self.scale = nn.Linear(6, 6)

    def forward(self, input: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        outputs, final = self.layer(input, state)
        return torch.tanh(self.scale(outputs)), final


# What makes a module, and the ways in which it may be handed back.
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[WayName, ...]]] = {
    "GRU": (lambda: nn.GRU(5, 6), ("as given", "hoisted", "fused", "compiled")),
    "LSTM": (lambda: nn.LSTM(5, 6), ("as given", "hoisted", "fused", "compiled")),
    "RNN": (lambda: nn.RNN(5, 6), ("as given", "hoisted", "fused", "compiled")),
    "GRUCell": (lambda: nn.GRUCell(5, 6), ("as given", "torch.nn", "fused", "compiled")),
    "Whole": (Whole, ("as given", "compiled")),
}


def as_it_is(module: nn.Module) -> nn.Module:
    """A module that takes sequences, without rnnbench's ways: a cell in a loop, which has been called once."""
    if not isinstance(module, nn.RNNCellBase):
        return module
    layer = rnnbench.unroll(module)
    layer(INPUT)
    return layer


def weight_of(module: nn.Module) -> tuple[nn.Module, str]:
    """The first matrix of a module: its owner and its name there."""
    return next(
        (part, name)
        for part in module.modules()
        for name, each in part.named_parameters(recurse=False)
        if each.dim() == 2
    )


def gradients(layer: Any, input: Tensor = INPUT) -> list[Tensor]:
    layer.zero_grad()
    (layer(input)[0] * DIRECTION.to(input.dtype)).sum().backward()
    return [each.grad for each in layer.parameters() if each.grad is not None]


def checkpointed(layer: Any, *, use_reentrant: bool) -> list[Tensor]:
    layer.zero_grad()
    outputs = checkpoint(lambda input: layer(input)[0], INPUT.clone().requires_grad_(), use_reentrant=use_reentrant)
    (outputs * DIRECTION).sum().backward()
    return [each.grad for each in layer.parameters()]


def second_derivative(layer: Any) -> Any:
    return torch.autograd.functional.hvp(lambda input: layer(input)[0].square().sum(), INPUT, torch.ones_like(INPUT))


def of_scale(layer: Any) -> Callable[[Tensor], Tensor]:
    """A function of one number, by which the input is multiplied."""
    return lambda scale: layer(scale * INPUT)[0].square().sum()


def twice(layer: Any) -> list[Tensor]:
    layer.zero_grad()
    for share in (1.0, 3.0):
        (share * layer(INPUT)[0] * DIRECTION).sum().backward()
    return [each.grad for each in layer.parameters()]


def partly_frozen(layer: Any) -> list[Tensor]:
    owner, name = weight_of(layer)
    getattr(owner, name).requires_grad_(requires_grad=False)
    return gradients(layer)


def frozen(layer: Any) -> Any:
    layer.requires_grad_(requires_grad=False)
    input = INPUT.clone().requires_grad_()
    (layer(input)[0] * DIRECTION).sum().backward()
    return input.grad


def hooked(layer: Any) -> Any:
    layer.register_forward_hook(lambda module, given, result: (2 * result[0], result[1]))
    return layer(INPUT)


def hooked_backward(layer: Any) -> Any:
    layer.register_full_backward_hook(lambda module, of_input, of_output: tuple(2 * each for each in of_input))
    input = INPUT.clone().requires_grad_()
    (layer(input)[0] * DIRECTION).sum().backward()
    return input.grad


def pruned(layer: Any) -> list[Tensor]:
    """It is right, and so is not refused: it leaves the weight's name to a buffer of the given module."""
    prune.l1_unstructured(*weight_of(layer), amount=0.5)
    return gradients(layer)


def doubled(layer: Any) -> dict[str, Tensor]:
    return {name: 2 * each.detach() for name, each in layer.named_parameters()}


def of_functional(layer: Any) -> Any:
    def loss(weights: dict[str, Tensor]) -> Tensor:
        outputs: Tensor = torch.func.functional_call(layer, weights, (INPUT,))[0]
        return outputs.square().sum()

    return list(torch.func.grad(loss)(doubled(layer)).values())


def stepped(layer: Any) -> Any:
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    gradients(layer)
    optimizer.step()
    return layer(INPUT)


def loaded(layer: Any) -> Any:
    layer.load_state_dict({name: 2 * each for name, each in layer.state_dict().items()})
    return layer(INPUT)


def replaced(layer: Any) -> Any:
    owner, name = weight_of(layer)
    setattr(owner, name, nn.Parameter(2 * getattr(owner, name).detach()))
    return layer(INPUT)


def saved(layer: Any) -> Any:
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return gradients(torch.load(file, weights_only=False))


def in_mode(mode: Any, layer: Any) -> Any:
    with mode:
        return layer(INPUT)


def exported(layer: Any) -> Any:
    return torch.export.export(layer, (INPUT,)).module()(INPUT)


def traced(layer: Any) -> Any:
    return torch.jit.trace(layer, (INPUT,), check_trace=False)(INPUT)


USES: dict[str, Callable[[Any], Any]] = {
    "evaluation": lambda layer: layer.eval()(INPUT),
    "gradients": gradients,
    "accumulated gradients": twice,
    "checkpoint": lambda layer: checkpointed(layer, use_reentrant=False),
    "checkpoint with reentrance": lambda layer: checkpointed(layer, use_reentrant=True),
    "second derivative": second_derivative,
    "hessian": lambda layer: torch.autograd.functional.hessian(of_scale(layer), torch.tensor(0.5)),
    "jvp": lambda layer: torch.func.jvp(of_scale(layer), (torch.tensor(0.5),), (torch.tensor(1.0),)),
    "vmap": lambda layer: torch.func.vmap(of_scale(layer))(torch.tensor([0.5, 1.0])),
    "frozen weight": partly_frozen,
    "frozen": frozen,
    "hook": hooked,
    "hook of backward": hooked_backward,
    "pruning": pruned,
    "functional call": lambda layer: torch.func.functional_call(layer, doubled(layer), (INPUT,)),
    "gradients of a functional call": of_functional,
    "copy": lambda layer: gradients(copy.deepcopy(layer)),
    "pickle": lambda layer: gradients(pickle.loads(pickle.dumps(layer))),
    "saved and loaded": saved,
    "state_dict": lambda layer: [*layer.state_dict().values()],
    "loaded weights": loaded,
    "replaced weight": replaced,
    "step of an optimizer": stepped,
    "double": lambda layer: gradients(layer.double(), INPUT.double()),
    "bfloat16": lambda layer: layer.bfloat16()(INPUT.bfloat16()),
    "autocast": lambda layer: in_mode(torch.autocast("cpu", torch.bfloat16), layer),
    "inference mode": lambda layer: in_mode(torch.inference_mode(), layer),
    "no_grad": lambda layer: in_mode(torch.no_grad(), layer),
    "state": lambda layer: layer(INPUT, layer(INPUT)[1]),
    "input that is not contiguous": lambda layer: layer(INPUT.transpose(0, 1).contiguous().transpose(0, 1)),
    "in a model": lambda layer: gradients(nn.ModuleList([layer])[0]),
    "export": exported,
    "trace": traced,
}
TWICE_DIFFERENTIATED = ("second derivative", "hessian")  # which torch refuses for compiled code
OF_STEPS = ("hook", "hook of backward")  # which a cell has called in each step
CASES = [
    pytest.param(kind, way, marks=[pytest.mark.slow, pytest.mark.weekly] if kind in ("LSTM", "RNN") else [])
    for kind, (_, ways) in MODULES.items()
    for way in ways
]


def outcome(use: str, module: nn.Module) -> Any:
    """What a use gives, as a list of tensors, or the kind of its error."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=TracerWarning)  # of torch's own layers
            warnings.filterwarnings("ignore", "The tensor attributes")  # of theirs in an export
            warnings.filterwarnings("ignore", "torch.compile is ignored")  # in an export, which says so
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # of its compiler
            result = USES[use](module)
    except Exception as error:
        return type(error).__name__
    return [each.detach() for each in tree_leaves(result) if isinstance(each, Tensor)]


def assert_used_as_it_is(kind: str, use: str, way: WayName) -> None:
    given = MODULES[kind][0]()
    if use in OF_STEPS and isinstance(given, nn.RNNCellBase):
        return
    expected = outcome(use, as_it_is(copy.deepcopy(given)))
    found = outcome(use, fast(given, way))
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    tolerance = 1e-2 if use in ("bfloat16", "autocast") else 1e-4
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.usefixtures("not_compiled")
@pytest.mark.parametrize(("kind", "way"), CASES)
@pytest.mark.parametrize("use", USES)
def test_a_module_can_be_used_in_each_way_as_it_is(kind: str, use: str, way: WayName) -> None:
    assert_used_as_it_is(kind, use, way)


@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.parametrize("kind", ["GRU", "GRUCell", "Whole"])
@pytest.mark.parametrize("use", USES)
def test_a_module_can_be_used_as_it_is_if_its_way_is_really_compiled(kind: str, use: str) -> None:
    if use in TWICE_DIFFERENTIATED and kind != "Whole":  # whose layers torch's compiler leaves out
        assert outcome(use, fast(MODULES[kind][0](), "compiled")) == "RuntimeError"
        return
    assert_used_as_it_is(kind, use, "compiled")


@pytest.mark.usefixtures("not_compiled")
@pytest.mark.parametrize("way", ["hoisted", "fused", "compiled"])
def test_a_layer_that_was_parametrized_before_the_search_runs_as_given_and_one_after_it_is_refused(
    way: WayName,
) -> None:
    given = parametrizations.weight_norm(nn.GRU(5, 6), "weight_hh_l0")
    expected = gradients(copy.deepcopy(given))
    torch.testing.assert_close(gradients(fast(given, way)), expected)
    with pytest.raises(TypeError, match=r"no weight of a module that rnnbench.fastest returned can be"):
        parametrizations.weight_norm(fast(nn.GRU(5, 6), way), "weight_hh_l0")


@pytest.mark.usefixtures("not_compiled")
@pytest.mark.parametrize("way", ["hoisted", "fused", "compiled"])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_packed_and_unbatched_sequences_run_as_given(kind: Any, way: WayName) -> None:
    layer = kind(5, 6)
    found = fast(layer, way)
    packed = pack_padded_sequence(INPUT, torch.tensor([7, 4, 2]))
    torch.testing.assert_close(found(packed)[0].data, layer(packed)[0].data)
    torch.testing.assert_close(found(INPUT[:, 0]), layer(INPUT[:, 0]))


def test_an_unrolled_cell_is_called_once_before_it_is_exported() -> None:
    layer = rnnbench.unroll(nn.GRUCell(5, 6))
    with pytest.raises(RuntimeError, match="call this layer once before you export it: the first call finds"):
        exported(layer)
    outputs, _ = layer(INPUT)
    torch.testing.assert_close(exported(layer)[0], outputs)
