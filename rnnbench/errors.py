"""The exceptions that the command line shows without a traceback."""


class UserError(Exception):
    """An error that says in a few lines what is wrong, where, and what would be right; the command exits with 2."""


class Interrupted(Exception):
    """Ctrl-C during a run; the message says where the results so far are. The command exits with 130."""
