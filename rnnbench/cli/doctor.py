"""`rnnbench doctor`."""

from pathlib import Path

import click

from rnnbench.cli import output


@click.command(short_help="Describe this machine, its noise, and what to change.")
@click.option("--probe/--no-probe", "measured", default=True, help="Measure the noise, which takes some 15 seconds.")
def doctor(measured: bool) -> None:
    """Describe this machine, measure its noise, and say what to change before measuring.

    \b
    Example:
      rnnbench doctor --no-probe
    """
    from rnnbench.harness.coordinator import environment
    from rnnbench.harness.doctor import advice, instructions, probe, standing
    from rnnbench.report.screen.progress import shown_progress
    from rnnbench.report.tables.table_environment import lines
    from rnnbench.report.words.noise import noise_sentence

    description, sentences = environment.describe(Path()), []
    if measured:
        with shown_progress() as on_progress:
            description, noise = probe(on_progress)
        sentences.append(noise_sentence(noise))
    description = standing(description)
    output.say("\n".join([*lines(description), "", *sentences, *advice(description), instructions()]))
