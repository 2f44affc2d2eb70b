"""What the commands of the tools have in common: their arguments, their errors, and what they do beyond a training."""
