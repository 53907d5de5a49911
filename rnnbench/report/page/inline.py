"""Figures as elements of a page: in its colours, light or dark, and with the case of each mark."""

import re
from collections.abc import Mapping
from xml.etree import ElementTree as Xml

from markupsafe import Markup

from rnnbench.report.colors import variables

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
CASES = "data-cases"
# Colours of figures and the variables of the page that hold them; what is coloured alike in light and dark stays.
VARIABLES = {shade.light: name for name, shade in variables().items()}
COLOR = re.compile("|".join(VARIABLES))
POINTS = re.compile(r"[\d.]+")

Xml.register_namespace("", SVG)
Xml.register_namespace("xlink", XLINK)


def inline(svg: str, label: str, titles: Mapping[int, str]) -> Markup:
    """Turn an SVG that `canvas.svg` made into an element of a page, with a label for readers who can't see it.

    Each mark lists the rows of the summary that it shows (`data-cases="3"`). A mark of a single row also has the row's
    title, which browsers show as a tooltip. CSS variables hold the size, so that the page's style can keep letters
    legible.
    """
    root = Xml.fromstring(svg)
    width, height = (float(POINTS.findall(root.attrib.pop(side))[0]) for side in ("width", "height"))
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("style", f"--wide: {width:g}px; --high: {height:g}px")
    for element in root.iter():
        for name in ("style", "fill", "stroke"):
            if value := element.get(name):
                element.set(name, COLOR.sub(lambda match: f"var(--{VARIABLES[match[0]]})", value))
    for group in [group for group in root.iter() if CASES in group.attrib]:
        _tell_apart(group, titles)
    return Markup(Xml.tostring(root, encoding="unicode"))


def _tell_apart(group: Xml.Element, titles: Mapping[int, str]) -> None:
    """Move the rows of a group to its marks, if it draws one mark for each row; lines beside marks keep all rows."""
    rows = group.attrib[CASES].split()
    hidden = {id(part) for defs in group.iter(f"{{{SVG}}}defs") for part in defs.iter()}
    marks, paths = (
        [part for part in group.iter(f"{{{SVG}}}{kind}") if id(part) not in hidden] for kind in ("use", "path")
    )
    marks, lines = (marks, paths) if marks else (paths, [])
    if len(marks) != len(rows):  # such as the letters of a number
        return
    del group.attrib[CASES]
    for part in lines:
        part.set(CASES, " ".join(rows))
    for part, row in zip(marks, rows, strict=True):
        part.set(CASES, row)
        Xml.SubElement(part, f"{{{SVG}}}title").text = titles[int(row)]
