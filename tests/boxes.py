"""Boxes one by one, as references."""

import torch


def corners(prior: torch.Tensor, deltas: torch.Tensor) -> torch.Tensor:
    """The box of deltas of a prior: centre, width and height."""
    centre, sides = prior[:2] + deltas[:2] * prior[2:], prior[2:] * deltas[2:].exp()
    return torch.cat([centre - sides / 2, centre + sides / 2])


def giou(b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    def area(box: torch.Tensor) -> torch.Tensor:
        return (box[2] - box[0]).clamp(min=0) * (box[3] - box[1]).clamp(min=0)

    common = area(torch.cat([torch.maximum(b, c)[:2], torch.minimum(b, c)[2:]]))
    hull = area(torch.cat([torch.minimum(b, c)[:2], torch.maximum(b, c)[2:]]))
    union = area(b) + area(c) - common
    return common / union - (hull - union) / hull


def box_difference(own: torch.Tensor, other: torch.Tensor, unit: float = 1) -> torch.Tensor:
    """By GIoU, if both boxes have an area; `unit` is what the boxes' coordinates are relative to."""
    own_area, other_area = (bool((box[2:] > box[:2]).all()) for box in (own, other))
    if not other_area:
        return own.sum() * 0
    if not own_area:
        half_perimeter = other[2] - other[0] + other[3] - other[1]
        return 2 + (own - other).abs().sum() / half_perimeter.clamp(min=unit)
    return 2 * (1 - giou(own, other))
