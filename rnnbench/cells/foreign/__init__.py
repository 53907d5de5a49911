"""Other people's modules as they are: how they are built, called, and what state they keep."""
