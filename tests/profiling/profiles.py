"""Invented profiles, whose times add up as the test sets them."""

from rnnbench.store.profiles import Cause, CauseKind, Operator, Profile


def profile(
    call: float = 100e-6,
    products: float = 30e-6,
    pointwise: float = 10e-6,
    *,
    case: str = "mine",
    causes: tuple[Cause, ...] = (),
    opaque: str = "",
    backward: float = 0.0,
) -> Profile:
    """A forward of two kinds of operators, each with 5 us of overhead, in three equal rounds; `backward`: seconds."""
    operators: tuple[Operator, ...] = (
        Operator("aten::t", "", "views", "forward", 32, 0, (9e-6,) * 3, (9e-6,) * 3),
        Operator("aten::addmm", "4x8, 8x8", "products", "forward", 16, 256, (products + 5e-6,) * 3, (5e-6,) * 3),
        Operator("aten::tanh", "4x8", "pointwise", "forward", 16, 128, (pointwise + 5e-6,) * 3, (5e-6,) * 3),
    )
    times: dict[str, tuple[float, ...]] = {"call": (call,) * 3}
    if backward:
        operators += (Operator("aten::mm", "8x4", "products", "backward", 16, 0, (25e-6,) * 3, (5e-6,) * 3),)
        times["forward"] = (call - backward,) * 3
    return Profile(
        case,
        steps=16,
        times=times,
        operators=() if opaque else operators,
        opaque=opaque,
        causes=causes,
    )


def cause(kind: CauseKind = "copy", seconds: float = 10e-6, spread: float = 0.1e-6) -> Cause:
    """A cause whose three rounds differ by `spread`."""
    return Cause(kind, "clone (mine.py:7)", 16, (seconds - spread, seconds, seconds + spread))
