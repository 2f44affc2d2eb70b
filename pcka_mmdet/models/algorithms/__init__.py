"""Distillation algorithms: student, teacher and distiller wired together."""
