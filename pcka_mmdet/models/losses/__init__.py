"""Distillation losses: on maps, on outputs of heads, and on logits."""
