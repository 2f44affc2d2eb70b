_base_ = "rcka.py"

model = dict(recipe="kd")
