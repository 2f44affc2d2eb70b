# A recipe of our own for two heads of the same classes, anchors and box coder: the outputs of the student's own head
# are compared with those of the teacher's, and the teacher's head runs on the student's maps too. Either gradient has
# the norm of the task's, for any detector, image size and data set.
_base_ = "teacher-head.py"

distiller = dict(losses=dict(own=dict(type="pcka_mmdet.OwnHeadLoss")))
