"""What is wrong with a user's class."""


class CellError(Exception):
    """A user's own class is wrong; the message says in one line how, and what would be right."""


class CellMissing(CellError):
    """A cell's module can't be imported, or has no such class."""
