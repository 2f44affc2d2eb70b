_base_ = "rcka_resnet110_resnet20_cifar100.py"

model = dict(recipe="pcka-stage")
