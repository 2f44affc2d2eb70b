"""A detector's test: of the student alone, from a checkpoint, with test-time augmentation."""

from collections.abc import Sequence
from copy import deepcopy

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.student import student_config
from pcka_mmdet.configuration.data_set import all_innermost
from pcka_mmdet.configuration.detector import plain_dict
from pcka_mmdet.configuration.nested import last_name

from .hooks.console import ProgressHook
from .hooks.student_checkpoint import StudentWeightsHook

TTA_MODEL = dict(type="mmengine.DetTTAModel", tta_cfg=dict(nms=dict(type="nms", iou_threshold=0.5), max_per_img=100))


def config_of_test(given: Config, checkpoint: str) -> Config:
    """The config of a test: of the student alone, if `given` is a distillation's."""
    config = student_config(given)
    if config is given:
        config = Config(plain_dict(config))  # without a name: MMEngine would write it over the training's
    config.work_dir, config.launcher = given.get("work_dir"), given.get("launcher", "none")
    config.load_from, config.resume = checkpoint, False
    return config


def run_test(runner: Runner, *hooks: Hook) -> None:
    """Test the student's weights of a checkpoint, with a progress bar."""
    progress = ProgressHook()
    for hook in (StudentWeightsHook(), *hooks, progress):
        runner.register_hook(hook)
    try:
        runner.test()
    finally:
        progress.stop()


def use_tta(config: Config, scales: Sequence[float] = (1.0,)) -> None:
    """Test on each image and its mirror image, at some scales, or by the config's `tta_pipeline` and `tta_model`.

    Args:
        config: Of a test; it is changed.
        scales: Factors of the size to which the pipeline resizes images.

    Raises:
        ValueError: There are several scales, and the pipeline has no `Resize` with a `scale`.
    """
    from mmdet.models import DetTTAModel  # noqa: F401  (MMDetection registers it with MMEngine)

    for dataset in all_innermost(config.test_dataloader.dataset):
        dataset.pipeline = config.get("tta_pipeline") or _views(deepcopy(dataset.pipeline), scales)
    config.model = dict(**config.get("tta_model", TTA_MODEL), module=config.model)


def _views(pipeline: list[dict], scales: Sequence[float]) -> list[dict]:
    """The pipeline with its last step, the packing, for each view."""
    mirrored = [dict(type="mmdet.RandomFlip", prob=prob) for prob in (0.0, 1.0)]
    packing = [dict(type="mmdet.PackDetInputs")]  # metrics such as VOC's read the objects of the first view
    if tuple(scales) == (1.0,):
        return [*pipeline[:-1], dict(type="TestTimeAug", transforms=[mirrored, packing])]
    places = [i for i, step in enumerate(pipeline) if last_name(step["type"]) == "Resize" and "scale" in step]
    if not places:
        raise ValueError(
            "the test pipeline has no Resize with a scale, so images cannot be seen at several: write tta_pipeline and "
            "tta_model in the config, or leave --tta out"
        )
    resize = pipeline[places[0]]
    sized = [{**resize, "scale": tuple(round(side * scale) for side in resize["scale"])} for scale in scales]
    between = [[step] for step in pipeline[places[0] + 1 : -1]]
    views = dict(type="TestTimeAug", transforms=[sized, *between, mirrored, packing])
    return [*pipeline[: places[0]], views]
