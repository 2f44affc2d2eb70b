# The thin Faster R-CNN, as the student of a RetinaNet.
_base_ = "../two_stage/student.py"
