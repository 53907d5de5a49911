"""Instructions that a call takes, counted in workers that are never timed."""
