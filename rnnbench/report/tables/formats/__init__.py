"""A table as text: CSV, LaTeX and Markdown."""
