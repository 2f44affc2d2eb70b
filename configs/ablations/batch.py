title = "Images in a batch (Tables 11 to 13); the learning rate stays as it is"
demo = {
    f"{name} {n}": {"train_dataloader.batch_size": n, **options}
    for n in (4, 8, 16)
    for name, options in (("distilled,", {}), ("plain,", {"pcka.loss_weight": 0.0}))
}
coco = {str(n): {"train_dataloader.batch_size": n} for n in (1, 2, 4)}
