"""The ablations of the paper, on the digits."""
