"""What several runs say together: side by side, and as a history."""
