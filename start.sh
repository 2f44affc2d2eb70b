#!/usr/bin/env bash
# starts or continues the queue; results go to the main clone
cd /root/verdict
export PYTHONPATH=/root/verdict
exec nohup .venv/bin/python -m research.verdict run --weights /work/shared/weights/mobilenet_v2_imagenet.pth --results /root/verdict_results >> queue.log 2>&1
