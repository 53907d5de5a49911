"""The ways to run a user's recurrent module, which of them is fastest, and the module that runs so."""
