"""What a terminal shows: the tables of a run, and progress."""
