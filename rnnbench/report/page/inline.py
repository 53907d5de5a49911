"""Figures as elements of a page: in its colours, light or dark, and with the case of each mark."""

import hashlib
import re
from collections import Counter
from collections.abc import Container, Mapping
from xml.etree import ElementTree as Xml

from markupsafe import Markup

from rnnbench.report.colors import variables
from rnnbench.report.page.compact import ranges

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
CASES, EACH = "data-cases", "data-each"
# Colours of figures and the variables of the page that hold them; what is coloured alike in light and dark stays.
VARIABLES = {shade.light: name for name, shade in variables().items()}
COLOR = re.compile("|".join(VARIABLES))
POINTS = re.compile(r"[\d.]+")
LONG_NUMBER = re.compile(r"(?<![\d.])(-?\d+\.\d{2})\d+")  # more decimals than anybody sees
TARGET = re.compile(r"(?<=url\(#)[^)]+")
OPACITY = re.compile(r"(?<!-)\bopacity:")  # of an element as a whole, which is not inherited
PLACES = ("d", "x", "y")  # attributes with points on the paper
MIN_ALIKE = 4  # elements with the same style, for a class of their own
MAX_TITLED = 1_000  # marks of one figure that have tooltips

Xml.register_namespace("", SVG)
Xml.register_namespace("xlink", XLINK)


def inline(svg: str, name: str, label: str, titles: Mapping[int, str]) -> Markup:
    """Turn an SVG that `canvas.svg` made into an element of a page, with a label for readers who can't see it.

    `name`: of the figure, unlike that of every other figure of the page.

    Each mark lists the rows of the summary that it shows (`data-cases="3"`, in the form of `compact.ranges`). A mark of
    a single row also has the row's title, which browsers show as a tooltip. In a figure of very many marks, groups list
    the rows of their marks (`data-each`), and there are no tooltips. CSS variables hold the size, so that the page's
    style can keep letters legible.
    """
    root = Xml.fromstring(svg)
    width, height = (float(POINTS.findall(root.attrib.pop(side))[0]) for side in ("width", "height"))
    root.set("role", "img")
    root.set("aria-label", label)
    root.set("style", f"--wide: {width:g}px; --high: {height:g}px")
    for element in root.iter():
        for attribute in ("style", "fill", "stroke"):
            if value := element.get(attribute):
                element.set(attribute, COLOR.sub(lambda match: f"var(--{VARIABLES[match[0]]})", value))
        for attribute in PLACES:
            if value := element.get(attribute):
                element.set(attribute, LONG_NUMBER.sub(r"\1", value))
    groups = [group for group in root.iter() if CASES in group.attrib]
    is_crowded = sum(len(group.attrib[CASES].split()) for group in groups) > MAX_TITLED
    for group in groups:
        _tell_apart(group, titles, is_crowded=is_crowded)
    _shorten(root, name)
    _share_styles(root)
    _strip(root)
    return Markup(Xml.tostring(root, encoding="unicode"))  # noqa: S704 - our own figure, parsed and written anew


def _tell_apart(group: Xml.Element, titles: Mapping[int, str], *, is_crowded: bool) -> None:
    """Move the rows of a group to its marks, if it draws one mark for each row; lines beside marks keep all rows."""
    rows = [int(row) for row in group.attrib[CASES].split()]
    hidden = {id(part) for defs in group.iter(f"{{{SVG}}}defs") for part in defs.iter()}
    marks, paths = (
        [part for part in group.iter(f"{{{SVG}}}{kind}") if id(part) not in hidden] for kind in ("use", "path")
    )
    marks, lines = (marks, paths) if marks else (paths, [])
    if len(marks) != len(rows):  # such as the letters of a number
        group.set(CASES, ranges(rows))
        return
    del group.attrib[CASES]
    for part in lines:
        part.set(CASES, ranges(rows))
    if is_crowded:
        group.set(EACH, ranges(rows))
        return
    for part, row in zip(marks, rows, strict=True):
        part.set(CASES, str(row))
        Xml.SubElement(part, f"{{{SVG}}}title").text = titles[row]


def _share_styles(root: Xml.Element) -> None:
    """Replace styles that many elements have by classes, which a sheet in the figure defines."""
    counts = Counter(element.get("style") for element in root.iter() if element is not root)
    often = [style for style, count in counts.items() if style and count >= MIN_ALIKE]
    if not often:
        return
    prefix = "s" + hashlib.sha256("\n".join(often).encode()).hexdigest()[:6]  # a page may have several figures
    classes = {style: f"{prefix}-{number}" for number, style in enumerate(often)}
    for element in root.iter():
        if element is not root and (style := element.get("style")) in classes:
            del element.attrib["style"]
            element.set("class", classes[style])
    inherited = {name for style, name in classes.items() if not OPACITY.search(style)}
    for group in root.iter(f"{{{SVG}}}g"):
        _share_class(group, inherited)
    sheet = Xml.Element(f"{{{SVG}}}style")
    sheet.text = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    root.insert(0, sheet)


def _share_class(group: Xml.Element, inherited: Container[str]) -> None:
    """Move the class of a group's marks to the group, if all have the same one, which they then inherit."""
    children = [child for child in group if child.tag != f"{{{SVG}}}defs"]
    shared = {child.get("class") for child in children}
    is_free = len(children) >= MIN_ALIKE and len(shared) == 1 and not group.get("class")
    if is_free and (name := shared.pop()) is not None and name in inherited:
        for child in children:
            del child.attrib["class"]
        group.set("class", name)


def _shorten(root: Xml.Element, name: str) -> None:
    """Give what the figure refers to a short id, and refer to it in the short form of SVG 2."""
    short: dict[str, str] = {}

    def shortened(target: str) -> str:
        return short.setdefault(target, f"{name}-{len(short)}")

    for element in root.iter():
        if link := element.attrib.pop(f"{{{XLINK}}}href", None):  # to a part of the figure, or an image's data
            element.set("href", f"#{shortened(link[1:])}" if link.startswith("#") else link)
        for attribute in ("clip-path", "style"):
            if value := element.get(attribute):
                element.set(attribute, TARGET.sub(lambda match: shortened(match[0]), value))
    for element in root.iter():
        if (own := element.get("id")) in short:
            element.set("id", short[own])


def _strip(root: Xml.Element) -> None:
    """Remove the line ends and indents between elements."""
    for element in root.iter():
        for part in ("text", "tail"):
            text = getattr(element, part)
            if text is not None and not text.strip():
                setattr(element, part, None)
