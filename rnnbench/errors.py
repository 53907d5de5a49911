"""The one exception that the command line shows without a traceback."""


class UserError(Exception):
    """What was wrong, where, and what would be right, in one or a few lines; the command exits with 2."""
