"""One module for each figure, with its caption."""
