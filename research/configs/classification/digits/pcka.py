_base_ = "rcka.py"

# the ratio was chosen on val; README.md of classification has all that were tried
model = dict(recipe="pcka-stage", balance=dict(ratio=0.1))
