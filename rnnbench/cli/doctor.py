"""`rnnbench doctor`."""

from pathlib import Path

import click

from rnnbench.cli import output
from rnnbench.cli.options import takes


@click.command(short_help="Describe this machine, its noise, and what to change.")
@click.option(
    "--probe/--no-probe",
    "measured",
    default=True,
    show_default=True,
    help="Measure the noise, which takes some 15 seconds.",
)
@takes("json-object")
def doctor(measured: bool, as_json: bool) -> None:
    """Say whether this machine is ready to measure and what to change, measure its noise, and describe it.

    \b
    Example:
      rnnbench doctor --no-probe

    \b
    Exit codes: 0 described, also if there is something to change; 2 wrong usage, or the noise can't be measured.
    """
    from rnnbench.harness.coordinator import environment
    from rnnbench.harness.doctor import advice, current_readings, instructions, probe
    from rnnbench.report.environment import facts, noise_sentence, readiness
    from rnnbench.report.screen.progress import shown_progress

    description = environment.describe(Path())
    noise = None
    if measured:
        with shown_progress() as on_progress:
            description, noise = probe(on_progress)
    description = current_readings(description)
    to_change = advice(description)
    if as_json:
        sentences = [readiness(to_change, noise), *([] if noise is None else [noise_sentence(noise)]), instructions()]
        output.write_json({"answer": sentences, "to_change": list(to_change), "machine": dict(facts(description))})
        return
    output.say(output.wrapped(readiness(to_change, noise)))
    for number, text in enumerate(to_change, 1):
        output.say(output.wrapped(f"{number}. {text}", indent=2, hang=5))
    for text in (*([] if noise is None else [noise_sentence(noise)]), instructions()):
        output.say("\n" + output.wrapped(text))
    rows = facts(description)
    column = max(len(name) for name, _ in rows) + 2
    output.say("\n" + "\n".join(output.wrapped(f"{name:<{column}}{value}", hang=column) for name, value in rows))
