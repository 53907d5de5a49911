"""What a check gives: rows of figures."""

from typing import Any

# `holds`: whether it is as it must be; None where it is reported only.
Row = dict[str, Any]
