# A recipe of our own for two heads of the same classes, anchors and box coder: the outputs of the student's own head
# are compared with those of the teacher's, and the teacher's head runs on the student's maps too. At the head's outputs
# the gradient of distillation has the norm of the task's; at the neck it has the norm of what the task and the
# student's head give together. So the whole gradient of distillation is a few times the task's.
_base_ = "teacher-head.py"

distiller = dict(losses=dict(own=dict(type="pcka_mmdet.OwnHeadLoss")))
