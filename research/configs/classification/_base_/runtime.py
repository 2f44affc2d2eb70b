default_scope = "mmpretrain"
custom_imports = dict(imports=["research.classification.backbones"])

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=100),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
env_cfg = dict(
    cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0), dist_cfg=dict(backend="nccl")
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="UniversalVisualizer", vis_backends=vis_backends)
val_evaluator = dict(type="Accuracy", topk=(1,))
test_evaluator = val_evaluator
val_cfg = dict()
test_cfg = dict()
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=None)
