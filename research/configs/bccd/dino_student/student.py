# The thin DINO, as the student of a RetinaNet.
_base_ = "../dino/student.py"
