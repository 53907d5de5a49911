"""The instruments: what runs workers, gives them turns, and reads the clock."""
