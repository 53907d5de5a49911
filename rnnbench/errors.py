"""The exceptions that the command line shows without a traceback."""


class UserError(Exception):
    """What was wrong, where, and what would be right, in one or a few lines; the command exits with 2."""


class Interrupted(Exception):
    """Ctrl-C during a run; says where what was measured is. The command exits with 130."""
