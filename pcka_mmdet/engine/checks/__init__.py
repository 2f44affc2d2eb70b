"""What can be found out before a training."""
