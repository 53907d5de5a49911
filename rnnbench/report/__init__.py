"""What a stored run says: one file for each table, figure and output format; pure functions, no torch, no network."""
