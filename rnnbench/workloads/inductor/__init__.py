"""What is changed in the code that torch.compile makes."""
