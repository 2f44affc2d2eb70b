_base_ = "../../../../configs/demo/student.py"
