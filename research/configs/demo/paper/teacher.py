_base_ = "../../../../configs/demo/teacher.py"
