_base_ = "../student.py"
