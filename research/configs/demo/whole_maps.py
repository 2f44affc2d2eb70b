# Without patches: RCKA compares the whole maps of the images of a batch. All else is as in patches.py.
_base_ = "patches.py"

model = dict(
    distiller=dict(losses=dict(_delete_=True, rcka=dict(type="pcka_mmdet.RCKALoss", source="neck", strides=(8, 16))))
)
