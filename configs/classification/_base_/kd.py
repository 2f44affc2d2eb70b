# Knowledge distillation (Hinton et al. 2015): KL divergence of the logits at a temperature of 4.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(logits=dict(type="mmrazor.KLDivergence", source="logits", tau=4, loss_weight=1.0)),
)
