"""Own matrix products, packed weights in each library, and passes over the graphs of torch.compile."""
