"""Which commit made a case slower."""
