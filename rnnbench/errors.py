"""The exceptions that the command line shows without a traceback, and what may be printed of strangers' words."""


def printable(text: str) -> str:
    """Words from files and folders as a terminal may show them: nothing in them moves its cursor or ends a line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


class UserError(Exception):
    """What was wrong, where, and what would be right, in one or a few lines; the command exits with 2."""


class Interrupted(Exception):
    """Ctrl-C during a run; says where what was measured is. The command exits with 130."""
