"""What all figures are drawn with: the marks of cells, colours for the background, and the axes themselves."""
