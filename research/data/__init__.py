"""BCCD and DeepPCB: fetched, and converted to COCO's format."""
