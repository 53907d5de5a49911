"""How figures are drawn: one style sheet, three drawing functions, and the mark of each cell."""
