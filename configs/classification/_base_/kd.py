# Knowledge distillation (Hinton et al. 2015): KL divergence of the logits at a temperature of 4, times its square.
# The weight was chosen on val of the digits; configs/classification/README.md has all that were tried.
distiller = dict(
    type="pcka_mmdet.FPNDistiller",
    losses=dict(logits=dict(type="mmrazor.KLDivergence", source="logits", tau=4, loss_weight=0.1)),
)
