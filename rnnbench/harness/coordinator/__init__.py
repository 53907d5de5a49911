"""The process that starts workers, gives them cases and stores their replies. It never imports torch."""
