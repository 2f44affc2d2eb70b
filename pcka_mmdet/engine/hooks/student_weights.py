"""Any checkpoint of a student into a student that is tested alone."""

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.files import load_what_fits, summarise
from pcka_mmdet.checkpoints.student_keys import student_weights
from pcka_mmdet.registry import HOOKS


@HOOKS.register_module()
class StudentWeightsHook(Hook):
    """Takes the student out of whatever checkpoint is loaded, and refuses one that lacks a part of it.

    MMEngine would load what fits, be it nothing, and go on with a warning.
    """

    priority = "VERY_HIGH"  # before an average of the weights looks at the checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the checkpoint's weights by the student's.

        Raises:
            ValueError: A key of the model is missing or has another shape, or one is left over.
        """
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        weights = student_weights(checkpoint.get("state_dict", checkpoint))
        _, problems = load_what_fits(model, weights)
        problems = [problem for problem in problems if "num_batches_tracked" not in problem]
        if problems:
            raise ValueError(
                f"the checkpoint is not of this config's {type(model).__name__}: {summarise(problems)}. Give the "
                "checkpoint of this config, of its student, or of a distillation of it"
            )
        checkpoint["state_dict"] = weights
