"""What a terminal would show, as plain text."""

import io

from rich.console import Console, RenderableType


def plain_text(content: RenderableType, width: int) -> str:
    """The content as a console of so many columns shows it, without colours and spaces at the ends of lines."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(content)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
