"""Figures as elements of a page: in its colours, light or dark, and with the case of each mark."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as Xml

from markupsafe import Markup

from rnnbench.report.colors import variables

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# Colours of figures and the variables of the page that hold them; what is coloured alike in light and dark stays.
VARIABLES = {shade.light: name for name, shade in variables().items()}
COLOR = re.compile("|".join(VARIABLES))
POINTS = re.compile(r"[\d.]+")
LONG_NUMBER = re.compile(r"(?<![\d.])(-?\d+\.\d)\d+")  # more decimals than anybody sees
BETWEEN = re.compile(r">\s+<")  # line ends and indents
TARGET = re.compile(r"(?<=url\(#)[^)]+")
MAX_MARKS = 1_000  # of one figure that lead to their cases

Xml.register_namespace("", SVG)
Xml.register_namespace("xlink", XLINK)


def inline(svg: str, name: str, label: str, titles: Mapping[int, str]) -> Markup:
    """Turn an SVG that `sheet.svg` made into an element of a page, with a label for readers who can't see it.

    `name`: of the figure, unlike that of every other figure of the page. Each mark has the row of the run's summary
    that it shows (`data-case="3"`) and the row's title, unless there are very many. CSS variables hold the figure's
    size, so that the page's style can keep letters legible.
    """
    root = Xml.fromstring(BETWEEN.sub("><", svg))
    width, height = (float(POINTS.findall(root.attrib.pop(side))[0]) for side in ("width", "height"))
    root.attrib |= {"role": "img", "aria-label": label, "style": f"--wide: {width:g}px; --high: {height:g}px"}
    short: dict[str, str] = {}  # the ids of parts that others refer to

    def shortened(target: str) -> str:
        return short.setdefault(target, f"{name}-{len(short)}")

    for element in root.iter():
        if link := element.attrib.pop(f"{{{XLINK}}}href", None):  # to a part of the figure, or an image's data
            element.set("href", f"#{shortened(link[1:])}" if link.startswith("#") else link)
        for attribute, value in element.attrib.items():
            if attribute in ("style", "fill", "stroke", "clip-path") and element is not root:
                colored = COLOR.sub(lambda match: f"var(--{VARIABLES[match[0]]})", value)
                element.set(attribute, TARGET.sub(lambda match: shortened(match[0]), colored))
            elif attribute in ("d", "x", "y"):
                element.set(attribute, LONG_NUMBER.sub(r"\1", value))
    for element in root.iter():
        if (own := element.attrib.pop("id", "")) in short:
            element.set("id", short[own])
    cases = {group: group.attrib.pop("data-cases", "").split() for group in root.iter()}
    if sum(map(len, cases.values())) <= MAX_MARKS:
        for group, rows in cases.items():
            _tell_apart(group, list(map(int, rows)), titles)
    return Markup(Xml.tostring(root, encoding="unicode"))  # noqa: S704 - our own figure, parsed and written anew


def _tell_apart(group: Xml.Element, rows: list[int], titles: Mapping[int, str]) -> None:
    """Give each mark of a group its row; or the group, if it shows one row, such as the letters of a number."""
    hidden = {part for defs in group.iter(f"{{{SVG}}}defs") for part in defs.iter()}
    kinds = ([part for part in group.iter(f"{{{SVG}}}{kind}") if part not in hidden] for kind in ("use", "path"))
    marks = next(filter(None, kinds), [])
    if len(marks) != len(rows):
        marks = [group] if len(rows) == 1 else []
    for part, row in zip(marks, rows, strict=False):
        part.set("data-case", str(row))
        Xml.SubElement(part, f"{{{SVG}}}title").text = titles[row]
