"""Suites: read their files, expand them into groups of cases, select some, and write the files of a new cell."""
