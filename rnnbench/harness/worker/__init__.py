"""The process that holds torch and runs cases: it answers the coordinator's requests."""
