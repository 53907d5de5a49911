"""Frames of stored records, of plain columns that every kind of file can hold."""
