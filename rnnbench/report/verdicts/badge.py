"""The comparison as a badge, in the format that shields.io reads from an address (its endpoint badge)."""

import json

from rnnbench.analysis.comparison import RANKS, Comparison
from rnnbench.analysis.verdict import Verdict

COLORS: dict[Verdict | None, str] = {
    "regressed": "red",
    "incomparable": "lightgrey",
    "undecided": "yellow",
    "improved": "brightgreen",
    "unchanged": "brightgreen",
    None: "lightgrey",
}


def render(comparison: Comparison) -> str:
    """A JSON object: `{"schemaVersion": 1, "label": "performance: ci", "message": "2 regressed", "color": "red"}`."""
    worst = min((finding.verdict for finding in comparison.findings), key=RANKS.__getitem__, default=None)
    said = f"{comparison.count(worst):,} {worst}" if worst else "nothing compared"
    badge = {"schemaVersion": 1, "label": f"performance: {comparison.suite}", "message": said, "color": COLORS[worst]}
    return json.dumps(badge) + "\n"
