# The small pair's teacher, of a Faster R-CNN.
_base_ = "../small/teacher.py"
