# Like both-heads.py without the teacher's head on the student's maps: a step takes less time.
_base_ = "teacher-head.py"

distiller = dict(losses=dict(_delete_=True, own=dict(type="pcka_mmdet.OwnHeadLoss")))
