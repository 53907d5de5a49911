"""The records of a run and the folder that holds them: JSON lines in, one pandas frame out."""
