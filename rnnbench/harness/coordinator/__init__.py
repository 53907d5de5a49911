"""The process that starts workers, gives them cases and stores what they say. It never imports torch."""
