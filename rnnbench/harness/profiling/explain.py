"""Time modules of the user's process in turns, then profile each: the work of `rnnbench.explain(...)`."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rnnbench.harness import devices
from rnnbench.harness.live.measuring import MeasuredModules, ready, timed
from rnnbench.harness.live.put_back import undisturbed
from rnnbench.harness.profiling.profile import profile
from rnnbench.harness.profiling.subject import of_arm
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Phase
from rnnbench.suite_file import Settings
from rnnbench.text import error_in_words


def explain(
    modules: Mapping[str, Callable[..., object]],
    input: object,
    phase: Phase,
    reference: str | None,
    settings: Settings,
    folder: Path | None,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_overrun: Callable[[float], None] = lambda seconds: None,
) -> tuple[MeasuredModules, dict[str, Profile]]:
    """Times, and a profile for each module, or why profiling it failed. Raises the same errors as `live.measure`."""
    started = time.monotonic()
    profiles: dict[str, Profile] = {}
    with ready(modules, input, phase, reference, threads) as prepared:
        result = timed(prepared, settings, started, on_progress, on_overrun)
        device = devices.open_device(prepared.device)
        for name, arm in prepared.arms.items():
            subject = of_arm(arm, prepared.calls[name], phase, device, prepared.put_back)
            try:
                with undisturbed():
                    profiles[name] = profile(subject, folder, on_progress=on_progress)
            except Exception as error:  # whatever the code of others raises; the times stay
                reason = f"profiling failed: {error_in_words(error)}"
                profiles[name] = Profile(name, "failed", reason)
    return result, profiles
