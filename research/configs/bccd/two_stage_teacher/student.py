# The small pair's student, of a Faster R-CNN.
_base_ = "../small/student.py"
