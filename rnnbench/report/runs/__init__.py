"""Reports of several runs, and of files that another tool wrote."""
