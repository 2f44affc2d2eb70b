"""Load the student from any checkpoint, to test it alone."""

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.matching import load_what_fits, summarise
from pcka_mmdet.checkpoints.student import student_weights
from pcka_mmdet.registry import HOOKS


@HOOKS.register_module()
class StudentWeightsHook(Hook):
    """Takes the student's weights from any checkpoint, and refuses one that does not hold them in full.

    MMEngine would load what fits, even if that is nothing, and only warn.
    """

    priority = "VERY_HIGH"  # before EMAHook reads the checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the checkpoint's weights by the student's.

        Raises:
            ValueError: A key is missing, unexpected or of another shape.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        weights = student_weights(checkpoint.get("state_dict", checkpoint))
        _, problems = load_what_fits(model, weights)
        if problems:
            raise ValueError(
                f"the checkpoint is not of this config's {type(model).__name__}: {summarise(problems)}. Give the "
                "checkpoint of this config, of its student, or of a distillation of it"
            )
        checkpoint["state_dict"] = weights
