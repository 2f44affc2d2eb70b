# Like teacher-head.py, but for two heads of the same classes, anchors and box codes: the outputs of the student's own
# head are compared with those of the teacher's.
_base_ = "teacher-head.py"

distiller = dict(losses=dict(_delete_=True, head=dict(type="pcka_mmdet.OwnHeadLoss")))
