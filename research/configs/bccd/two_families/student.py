# The small RetinaNet, as the student of a teacher of another family.
_base_ = "../small/student.py"
