"""A flame graph as a self-contained SVG: stacks of Python frames and operators, as wide as their time.

In a browser a script inside the file zooms and searches; any other viewer shows the whole call.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration
from rnnbench.store.regular_files import read_bytes

WIDTH, ROW, TOP, LETTER = 1200, 17, 46, 6.3  # pixels; LETTER is the width of a letter
MIN_SHARE = 0.0006  # of the whole; smaller frames are left out
MAX_ROWS = 60
MAX_BYTES = 64 << 20  # of a file of stacks
MAX_DIGITS = 18  # of nanoseconds: 30 years
PYTHON, OPERATOR, AUTOGRAD, OWN = "#f2c879", "#a9bfd6", "#c9d6a3", "#cccccc"
STYLE = """
text { fill: #111111 } .paper { fill: #ffffff } .title, .key { fill: #000000 }
g[data-left] { cursor: pointer } g[data-left]:focus { outline: 2px solid #0060a8 }
.hit rect { stroke: #b00060; stroke-width: 2; }
.bar { display: flex; gap: 8px; justify-content: flex-end; align-items: center; font: 12px sans-serif; color: #000000 }
@media (prefers-color-scheme: dark) {
  .paper { fill: #11161b } .title, .key { fill: #e6eaee } .bar { color: #e6eaee; color-scheme: dark }
  .hit rect { stroke: #ff5fb0 }
}
"""


@dataclass
class FlameNode:
    """A frame: the nanoseconds spent in it and in what it calls."""

    total: int = 0
    inner: dict[str, "FlameNode"] = field(default_factory=dict)


def read(file: Path) -> dict[tuple[str, ...], int]:
    """Read stacks, one per line, as `name;name;name nanoseconds`, which other tools read as well.

    Lines of any other form are skipped. Raises UserError if the file can't be read.
    """
    try:
        text = read_bytes(file, MAX_BYTES).decode(errors="replace")
    except OSError as fault:
        raise UserError(f"{file}: can't be read: {fault.strerror}") from None
    stacks: dict[tuple[str, ...], int] = {}
    for line in text.splitlines():
        stack, _, size = line.rpartition(" ")
        if stack and size.isdecimal() and len(size) <= MAX_DIGITS:
            stacks[tuple(stack.split(";"))] = int(size)
    return stacks


def render(stacks: Mapping[tuple[str, ...], int], title: str) -> str | None:
    """The SVG, or None if there is no stack."""
    root = _tree(stacks)
    if not root.total:
        return None
    boxes = list(_boxes(root, root.total, 0.0, 0))
    rows = 1 + max((row for row, *_ in boxes), default=0)
    height = TOP + ROW * rows + 8
    text = f"{one_line(title)}: {duration(root.total / 1e9)} under the profiler, which slows Python and short operators"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="DejaVu Sans, sans-serif" font-size="11">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            f'<text class="title" x="4" y="15" font-weight="bold">{escape(text)}</text>',
            *_legend(),
            *(_box(*box, whole=root.total) for box in boxes),
            f"<script><![CDATA[\n{_script()}]]></script>",
            "</svg>",
            "",
        ]
    )


@cache
def _script() -> str:
    return resources.files("rnnbench.report.figures").joinpath("flame.js").read_text(encoding="utf-8")


def _tree(stacks: Mapping[tuple[str, ...], int]) -> FlameNode:
    root = FlameNode()
    for stack, size in stacks.items():
        root.total += size
        node = root
        for name in stack[:MAX_ROWS]:
            node = node.inner.setdefault(name, FlameNode())
            node.total += size
    return root


def _boxes(frame: FlameNode, whole: int, left: float, row: int) -> Iterable[tuple[int, str, int, float]]:
    """Row, name, nanoseconds and left edge of each frame that is wide enough to be seen."""
    for name, child in sorted(frame.inner.items(), key=lambda pair: -pair[1].total):
        if child.total >= MIN_SHARE * whole:
            yield row, name, child.total, left
            yield from _boxes(child, whole, left, row + 1)
        left += WIDTH * child.total / whole


def _box(row: int, name: str, total: int, left: float, *, whole: int) -> str:
    name = one_line(name)
    width = WIDTH * total / whole
    room = int((width - 6) / LETTER)
    text = name if len(name) <= room else f"{name[: room - 1]}…" if room > 3 else ""
    tooltip = f"{name}: {duration(total / 1e9)}, {total / whole:.1%}"
    y = TOP + ROW * row
    return (
        f'<g data-left="{left:.3f}" data-wide="{width:.3f}" data-row="{row}" data-name="{escape(name)}">'
        f'<title>{escape(tooltip)}</title><rect x="{left:.2f}" y="{y}" width="{max(width - 0.5, 0.5):.2f}" '
        f'height="{ROW - 1}" rx="1" fill="{_color(name)}"/>'
        + (f'<text x="{left + 3:.2f}" y="{y + 12}">{escape(text)}</text>' if text else "")
        + "</g>"
    )


def _color(name: str) -> str:
    if name.startswith("rnnbench: "):
        return OWN
    if "::" in name and not name.startswith(("autograd", "torch::autograd")):
        return OPERATOR
    is_autograd = "autograd" in name or name.endswith(("Backward0", "Backward1"))
    return AUTOGRAD if is_autograd else PYTHON


def _legend() -> Iterable[str]:
    left = 4
    for color, name in ((PYTHON, "Python"), (OPERATOR, "operator"), (AUTOGRAD, "autograd")):
        box = f'<rect x="{left}" y="22" width="11" height="11" fill="{color}"/>'
        yield f'{box}<text class="key" x="{left + 15}" y="32">{name}</text>'
        left += 90
