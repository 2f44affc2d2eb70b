# A recipe of our own: the teacher's head judges the student's maps. The gradient has the norm of the task's
# for any detector, image size and data set. The teacher must have the student's classes.
distiller = dict(type="pcka_mmdet.FPNDistiller", losses=dict(head=dict(type="pcka_mmdet.HeadLoss")))
balance = dict(ratio=1.0)
