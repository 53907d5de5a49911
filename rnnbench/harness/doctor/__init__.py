"""What may spoil measurements on this machine: advice from what is known of it, and a short run that shows noise."""
