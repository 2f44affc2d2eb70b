# Like both-heads.py, but for heads that differ: only the teacher's head is read, on the student's maps. The teacher
# must have the student's classes.
distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(head=dict(type="pcka_mmdet.HeadLoss")))
balance = dict(ratio=1.0)
teacher_precision = "auto"  # bfloat16 where the processor computes in it
