"""A machine's best rates, made up."""

from collections.abc import Sequence

from rnnbench.store.ceilings import Ceiling, Rate

Sized = Sequence[tuple[int, float]]


def ceiling(
    device: str,
    dtype: str,
    threads: int,
    macs_per_second: float,
    copies: Sized,
    dispatch_seconds: float,
    launch_seconds: float | None,
    *,
    reads: Sized = (),
) -> Ceiling:
    """A ceiling whose rates have no spread."""
    return Ceiling(
        device,
        dtype,
        threads,
        products=(Rate("BLAS", macs_per_second),),
        copies=tuple(Rate(*rate) for rate in copies),
        reads=tuple(Rate(*rate) for rate in reads),
        dispatch_seconds=dispatch_seconds,
        launch_seconds=launch_seconds,
    )
