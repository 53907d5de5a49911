"""Other projects' ways to run a module, which `fastest` compares with its own and never hands back."""
