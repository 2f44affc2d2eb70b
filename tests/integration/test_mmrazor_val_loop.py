"""MMRazor's validation loop, which evaluates student and teacher, on an FPNDistill."""

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData


def right(inputs, samples, **_):
    """Predict what is annotated."""
    for sample in samples:
        truth = sample.gt_instances
        sample.pred_instances = InstanceData(**truth, scores=torch.ones(len(truth)))
    return samples


def test_student_and_teacher_are_evaluated(digit_scenes, tmp_path, monkeypatch):
    """Each by its own predictions: here a student that has learnt nothing, and a teacher that knows the answers."""
    config = Config.fromfile("configs/demo/distilled.py")
    config.merge_from_dict(
        {
            "work_dir": str(tmp_path),
            "log_level": "WARNING",
            "model.teacher_ckpt": "random",
            "model.architecture.test_cfg.score_thr": 0.0,
            "val_dataloader.dataset.data_root": f"{digit_scenes}/",
            "val_evaluator.ann_file": f"{digit_scenes}/annotations/val.json",
            "val_cfg.type": "mmrazor.SingleTeacherDistillValLoop",
        }
    )
    config.custom_hooks = [dict(type="pcka_mmdet.SimilarityHook", val_batches=1)]
    config.train_cfg = config.train_dataloader = config.optim_wrapper = config.param_scheduler = None
    runner = Runner.from_cfg(config)
    monkeypatch.setattr(runner.model.teacher, "predict", right)
    normalisation = runner.model._teacher.normalisation
    runner.val_loop.run()
    assert runner.message_hub.get_scalar("val/teacher.coco/bbox_mAP").current() == 1
    assert runner.message_hub.get_scalar("val/coco/bbox_mAP").current() < 0.5
    assert runner.model._teacher.normalisation == normalisation
    images = torch.randn(1, 3, 128, 128)
    maps = runner.model._teacher(images, None, normalisation)["neck"]
    assert not runner.model.teacher.training and len(maps) == 4
