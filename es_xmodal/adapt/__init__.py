"""What can be learned from the shop's own pairs: reading them, splitting, training, measuring."""
