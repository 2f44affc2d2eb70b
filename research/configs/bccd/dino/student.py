# A thin DINO on BCCD at 256x192: 64 channels, one layer of the encoder, 30 queries.
_base_ = "../small/student.py"

custom_imports = dict(imports=["research.thin_dino"])
channels = 64
attention = dict(embed_dims=channels, num_heads=4, dropout=0.0)
deformable = dict(embed_dims=channels, num_levels=3, num_heads=4, num_points=4, dropout=0.0)
ffn = dict(embed_dims=channels, feedforward_channels=128, ffn_drop=0.0)

model = dict(
    _delete_=True,
    type="ThinDINO",
    num_queries=30,
    with_box_refine=True,
    as_two_stage=True,
    num_feature_levels=3,
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=4,
        stem_channels=4,
        out_indices=(1, 2, 3),
        norm_eval=False,
        frozen_stages=-1,
        init_cfg=None,
    ),
    neck=dict(
        type="ChannelMapper",
        in_channels=[8, 16, 32],
        kernel_size=1,
        out_channels=channels,
        norm_cfg=dict(type="GN", num_groups=8),
        num_outs=3,
    ),
    encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=channels // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type="DINOHead",
        num_classes=3,
        embed_dims=channels,
        sync_cls_avg_factor=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=5.0),
        loss_iou=dict(type="GIoULoss", loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=30),
    ),
    train_cfg=dict(
        assigner=dict(
            type="HungarianAssigner",
            match_costs=[
                dict(type="FocalLossCost", weight=2.0),
                dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
                dict(type="IoUCost", iou_mode="giou", weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=30),
)
