"""Where the time of a call goes, and what would close the gap to its reference."""
