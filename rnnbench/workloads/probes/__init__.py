"""What one call of a case does, counted beside its times: its operators, its parameters, its gradients."""
