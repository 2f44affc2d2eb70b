"""A data set and detections at random, in COCO's format."""

import json
from pathlib import Path

import torch

CLASSES = ("b", "a", "c")
IDS = {"a": 3, "b": 7, "c": 1}


def boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    corners = torch.randint(0, 60, (count, 2), generator=generator).double()
    return torch.cat([corners, torch.randint(15, 45, (count, 2), generator=generator)], 1)


def random_case(images: int = 20, first: int = 0, crowds: bool = True) -> tuple[dict, list[dict]]:
    """The content of a file of annotations, and results: near objects and anywhere, one of another class."""
    generator = torch.Generator().manual_seed(0)
    annotations, results = [], []
    for image in range(first, first + images):
        true = boxes(4, generator)
        labels = torch.randint(3, (4,), generator=generator)
        for (x, y, width, height), label in zip(true.tolist(), labels.tolist(), strict=True):
            category, crowd = IDS[CLASSES[label]], int(crowds and x % 9 == 8)
            one = dict(image_id=image, category_id=category, bbox=[x, y, width, height], area=width * height)
            annotations.append(dict(one, iscrowd=crowd, id=len(annotations) + 1))
        detected = torch.cat([true + torch.randint(-6, 6, true.shape, generator=generator), boxes(3, generator)])
        kinds = torch.cat([labels, torch.randint(3, (3,), generator=generator)])
        kinds[0] = (kinds[0] + 1) % 3
        scores = torch.rand(7, generator=generator).sort(descending=True).values
        for bbox, label, score in zip(detected.tolist(), kinds.tolist(), scores.tolist(), strict=True):
            results.append(dict(image_id=image, category_id=IDS[CLASSES[label]], bbox=bbox, score=score))
    listed = [dict(id=image, file_name=f"{image}.png") for image in range(first, first + images)]
    categories = [dict(id=number, name=name) for name, number in IDS.items()]
    return dict(images=listed, annotations=annotations, categories=categories), results


def dump(content: object, path: Path) -> Path:
    path.write_text(json.dumps(content))
    return path
