# The teacher of the student from ImageNet weights: wider, and trained for longer.
_base_ = "../small/teacher.py"
