# The small pair's teacher, of a DINO.
_base_ = "../small/teacher.py"
