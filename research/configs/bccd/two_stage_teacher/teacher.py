# The Faster R-CNN as the teacher of a RetinaNet.
_base_ = "../two_stage/teacher.py"
