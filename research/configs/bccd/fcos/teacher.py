# The small pair's teacher, of an FCOS.
_base_ = "../small/teacher.py"
