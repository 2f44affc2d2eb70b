"""Tiny detectors of DETR's family, real ones of MMDetection's."""

from typing import Any

from .detectors import NUM_CLASSES, retinanet


def _detr(kind: str, channels: int, layers: int, levels: int, head: dict, **parts: Any) -> dict:
    """A detector on the backbone of `retinanet`, with maps of `levels` strides from 8 on."""
    attention = dict(embed_dims=channels, num_heads=2, dropout=0.0)
    deformable = dict(embed_dims=channels, num_levels=levels, num_points=2, num_heads=2)
    ffn = dict(embed_dims=channels, feedforward_channels=32, ffn_drop=0.0)
    plain = retinanet()
    return dict(
        type=kind,
        num_queries=6,
        data_preprocessor=plain["data_preprocessor"],
        backbone=dict(plain["backbone"], out_indices=tuple(range(4 - levels, 4))),
        neck=dict(
            type="ChannelMapper",
            in_channels=[16, 32, 64][-levels:],
            kernel_size=1,
            out_channels=channels,
            norm_cfg=dict(type="GN", num_groups=4),
            num_outs=levels,
        ),
        encoder=dict(num_layers=1, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=ffn)),
        decoder=dict(
            num_layers=layers,
            return_intermediate=True,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=deformable, ffn_cfg=ffn),
            post_norm_cfg=None,
        ),
        positional_encoding=dict(num_feats=channels // 2, normalize=True, offset=-0.5),
        bbox_head=dict(
            num_classes=NUM_CLASSES,
            embed_dims=channels,
            sync_cls_avg_factor=True,
            loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0),
            loss_bbox=dict(type="L1Loss", loss_weight=5.0),
            loss_iou=dict(type="GIoULoss", loss_weight=2.0),
            **head,
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
        test_cfg=dict(max_per_img=10),
        **parts,
    )


def dino(layers: int = 2) -> dict:
    """A DINO with denoising queries; MMDetection's has 256 channels always."""
    group = dict(dynamic=True, num_groups=None, num_dn_queries=4)
    config = _detr(
        "DINO",
        256,
        layers,
        3,
        dict(type="DINOHead"),
        with_box_refine=True,
        as_two_stage=True,
        num_feature_levels=3,
        dn_cfg=dict(label_noise_scale=0.5, box_noise_scale=1.0, group_cfg=group),
    )
    config["positional_encoding"]["temperature"] = 20
    return config


def deformable_detr(channels: int = 16, layers: int = 2) -> dict:
    """A Deformable DETR, whose queries are learned."""
    return _detr("DeformableDETR", channels, layers, 3, dict(type="DeformableDETRHead"), num_feature_levels=3)


def two_stage_detr(layers: int = 2) -> dict:
    """A Deformable DETR whose queries are places of the encoder; MMDetection's has 256 channels always."""
    options = dict(with_box_refine=True, as_two_stage=True, num_feature_levels=3)
    return _detr("DeformableDETR", 256, layers, 3, dict(type="DeformableDETRHead"), **options)


def dab_detr(channels: int = 16, layers: int = 2) -> dict:
    """A DAB-DETR, on the coarsest map alone."""
    config = _detr("DABDETR", channels, layers, 1, dict(type="DABDETRHead"))
    attention = dict(embed_dims=channels, num_heads=2, attn_drop=0.0, proj_drop=0.0)
    ffn = dict(embed_dims=channels, feedforward_channels=32, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type="PReLU"))
    config["encoder"] = dict(
        num_layers=1, layer_cfg=dict(self_attn_cfg=dict(embed_dims=channels, num_heads=2, dropout=0.0), ffn_cfg=ffn)
    )
    config["decoder"] = dict(
        num_layers=layers,
        query_dim=4,
        query_scale_type="cond_elewise",
        with_modulated_hw_attn=True,
        layer_cfg=dict(
            self_attn_cfg=dict(attention, cross_attn=False),
            cross_attn_cfg=dict(attention, cross_attn=True),
            ffn_cfg=ffn,
        ),
        return_intermediate=True,
    )
    config["positional_encoding"] = dict(num_feats=channels // 2, temperature=20, normalize=True)
    config["bbox_head"].pop("sync_cls_avg_factor")
    return config


KINDS = dict(dino=dino, deformable=deformable_detr, two_stages=two_stage_detr, dab=dab_detr)
"""A detector of each kind of queries."""
