"""Boxes of a teacher on images without labels, as an annotation file in COCO's format."""
