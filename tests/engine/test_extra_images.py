"""Extra images in a training's config."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.engine.hooks import PipelineSwitchHook, YOLOXModeSwitchHook
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from pcka_mmdet.configuration.schedule import training_iterations
from pcka_mmdet.demo.config import move_data_root
from pcka_mmdet.engine import extra_data  # noqa: F401  (registers)
from pcka_mmdet.engine.extra_images import add_extra_images
from pcka_mmdet.engine.recipe import distillation_config
from pcka_mmdet.models.sources import UNLABELLED


@pytest.fixture
def config(digit_scenes, tmp_path) -> Config:
    """The demo's student on 8 scenes, in batches of 4."""
    found = Config.fromfile("configs/demo/student.py")
    move_data_root(found, str(digit_scenes))
    found.train_dataloader.batch_size, found.work_dir = 4, str(tmp_path / "work")
    return found


@pytest.fixture
def folder(digit_scenes, tmp_path) -> Path:
    """Images that are in no split: other files than those of test, with its pixels."""
    shutil.copytree(digit_scenes / "test", tmp_path / "extra")
    for file in (tmp_path / "extra").iterdir():
        file.write_bytes(file.read_bytes() + b"0")
    return tmp_path / "extra"


def write_boxes(folder: Path, digit_scenes: Path, names: list[str], crowds: int = 0) -> str:
    """The boxes of test as a file with these classes, which stand for the digits in their order."""
    content = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    first = content["categories"][0]["id"]
    content["categories"] = [dict(id=100 - number, name=name) for number, name in enumerate(names)]
    content["annotations"] = [
        dict(box, category_id=100 - (box["category_id"] - first), iscrowd=int(number < crowds))
        for number, box in enumerate(content["annotations"])
        if box["category_id"] - first < len(names)
    ]
    file = folder.parent / "boxes.json"
    file.write_text(json.dumps(content))
    return f"{file}:{folder}"


def distilled(config: Config, tmp_path: Path) -> Config:
    config.dump(tmp_path / "student.py")
    made, _ = distillation_config(str(tmp_path / "student.py"), "configs/demo/teacher.py", "random", "maps", {})
    made.work_dir = config.work_dir
    return made


def test_boxes_are_read_with_the_students_classes(config, folder, digit_scenes):
    names = list("0123456789")
    source = write_boxes(folder, digit_scenes, names)
    extra = add_extra_images(config, source, 0.5)
    assert extra.doubts == []
    assert extra.notes == [f"a step of each process has 2 labelled and 2 extra images: 4 with boxes ({source})"]
    loader = config.train_dataloader
    assert loader.sampler == dict(
        type="pcka_mmdet.ExtraImagesSampler", batch_size=4, extra=2, shuffle=True, drop_last=False
    )
    init_default_scope("mmdet")
    dataset = DATASETS.build(loader.dataset)
    assert [len(part) for part in dataset.datasets] == [8, 4]
    wanted = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    first = wanted["categories"][0]["id"]
    for number in range(4):
        info = dataset.datasets[1].get_data_info(number)
        name = Path(info["img_path"]).name
        (image,) = (image["id"] for image in wanted["images"] if image["file_name"] == name)
        labels = [box["category_id"] - first for box in wanted["annotations"] if box["image_id"] == image]
        assert [instance["bbox_label"] for instance in info["instances"]] == labels
        assert UNLABELLED not in dataset.datasets[1][number]["data_samples"].metainfo


def test_classes_may_be_a_list(config, folder, digit_scenes):
    """As in a config in JSON; those of the extra images are a tuple."""
    config.train_dataloader.dataset.metainfo = dict(classes=list("0123456789"))
    add_extra_images(config, write_boxes(folder, digit_scenes, list("0123456789")))
    init_default_scope("mmdet")
    assert [len(part) for part in DATASETS.build(config.train_dataloader.dataset).datasets] == [8, 4]


@pytest.mark.parametrize("kind", ["Objects365V1Dataset", "LVISV1Dataset"])
def test_data_sets_that_number_labels_otherwise(config, folder, digit_scenes, kind):
    """Labels are in the order of the config's classes there, and the extra images are read as COCO's."""
    config.train_dataloader.dataset.update(type=kind, metainfo=dict(classes=tuple("9876543210")))
    add_extra_images(config, write_boxes(folder, digit_scenes, list("0123456789")))
    extra = config.train_dataloader.dataset.datasets[1]
    assert extra.type == "mmdet.CocoDataset"
    categories = json.loads(Path(extra.ann_file).read_text())["categories"]
    assert [category["name"] for category in categories] == list("9876543210")


def test_the_number_of_iterations_stays(config, folder, digit_scenes):
    before = training_iterations(config)
    add_extra_images(config, write_boxes(folder, digit_scenes, list("0123456789")), 0.25)
    assert training_iterations(config) == before and config.train_dataloader.sampler.extra == 1


def test_a_share_of_0_changes_nothing(config, folder):
    text = config.pretty_text
    for source, share in ((str(folder), 0.0), (None, 0.5)):
        extra = add_extra_images(config, source, share)
        assert (extra.notes, extra.doubts, config.pretty_text) == ([], [], text)


def test_images_without_labels_are_marked(config, folder, tmp_path):
    with pytest.raises(ValueError, match=r"has no boxes, so it is for a distillation alone: give --teacher, or label"):
        add_extra_images(config, str(folder))
    made = distilled(config, tmp_path)
    extra = add_extra_images(made, str(folder))
    assert "4 without labels, for the distillation alone" in extra.notes[0] and extra.doubts == []
    init_default_scope("mmdet")
    labelled, unlabelled = DATASETS.build(made.train_dataloader.dataset).datasets
    assert all(unlabelled[i]["data_samples"].metainfo[UNLABELLED] for i in range(4))
    assert UNLABELLED not in labelled[0]["data_samples"].metainfo
    # a file of images, without annotations, is the same
    entries = json.loads(Path(made.train_dataloader.dataset.datasets[1].ann_file).read_text())["images"]
    (tmp_path / "list.json").write_text(json.dumps(dict(images=entries)))
    again = distilled(config, tmp_path)
    assert "without labels" in add_extra_images(again, f"{tmp_path / 'list.json'}:{folder}").notes[0]


def test_images_without_labels_that_no_loss_reads(config, folder, tmp_path):
    made = distilled(config, tmp_path)
    losses = dict(boxes=dict(type="pcka_mmdet.PredictionLoss", source="decoder"), q=dict(type="pcka_mmdet.QueryLoss"))
    made.model.distiller.losses = losses
    with pytest.raises(ValueError, match=r"and the losses \['boxes', 'q'\] read labelled images alone, as a RoI head"):
        add_extra_images(made, str(folder))
    made.model.distiller.losses.maps = dict(type="pcka_mmdet.MimicLoss")
    assert add_extra_images(made, str(folder)).doubts == ["the losses ['boxes', 'q'] read labelled images alone"]


def test_classes_are_matched_by_name(config, folder, digit_scenes):
    source = write_boxes(folder, digit_scenes, ["3", "horse", "1"])
    extra = add_extra_images(config, source)
    lacking, left_out = extra.doubts
    assert lacking.startswith("the extra images have no boxes of ['0', '2', '4',") and "background there" in lacking
    assert left_out == "the student has no ['horse']: their boxes on extra images are left out"
    content = json.loads(Path(config.train_dataloader.dataset.datasets[1].ann_file).read_text())
    given = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    digits = [box["category_id"] - given["categories"][0]["id"] for box in given["annotations"]]
    students = {0: 3 + 1, 2: 1 + 1}  # the student's class of a digit, counted from 1
    assert [box["category_id"] for box in content["annotations"]] == [students[d] for d in digits if d in students]
    with pytest.raises(ValueError, match=r"have the classes \['a', .*, and the student \['0', .*: none is in both"):
        add_extra_images(config_again(config), write_boxes(folder, digit_scenes, list("abcdefghij")))


def config_again(config: Config) -> Config:
    config.train_dataloader.dataset = config.train_dataloader.dataset.datasets[0]
    config.train_dataloader.sampler = dict(type="DefaultSampler", shuffle=True)
    return config


def test_assigners_are_told_to_ignore_unsure_boxes(config, folder, digit_scenes):
    source = write_boxes(folder, digit_scenes, list("0123456789"), crowds=2)
    assert config.model.train_cfg.assigner.ignore_iof_thr == -1
    assert add_extra_images(config, source).doubts == []
    assert config.model.train_cfg.assigner.ignore_iof_thr == 0.5
    again = config_again(config)
    again.model.train_cfg.assigner = dict(type="SimOTAAssigner")
    (doubt,) = add_extra_images(again, source).doubts
    assert doubt.startswith("the student has SimOTAAssigner, which ignores no box: to it, unsure boxes")
    again = config_again(config)
    able, unable = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4), dict(type="PointAssigner")
    again.model.train_cfg = dict(init=dict(assigner=unable), ga_assigner=able)  # RepPoints has two
    (doubt,) = add_extra_images(again, source).doubts
    assert doubt.startswith("the student has PointAssigner, which") and again.model.train_cfg.ga_assigner.ignore_iof_thr
    again = config_again(config)
    again.model.train_cfg = None
    (doubt,) = add_extra_images(again, source).doubts
    assert doubt.startswith("the student has no assigner, which ignores no box")


@pytest.mark.parametrize("by_path", [False, True], ids=["dict", "path"])
def test_the_assigners_of_a_distilled_student_too(config, folder, digit_scenes, tmp_path, by_path):
    made = distilled(config, tmp_path)
    if by_path:
        made.model.architecture = dict(cfg_path=str(tmp_path / "student.py"))
    assert add_extra_images(made, write_boxes(folder, digit_scenes, list("0123456789"), crowds=2)).doubts == []
    assert made.model.architecture.train_cfg.assigner.ignore_iof_thr == 0.5


def test_leaks_are_refused(config, folder, digit_scenes):
    with pytest.raises(ValueError, match=r"4 extra images are also in test_dataloader, such as .*test.*seen in the"):
        add_extra_images(config, str(digit_scenes / "test"))
    source = f"{digit_scenes / 'annotations' / 'train.json'}:{digit_scenes / 'train'}"
    (doubt,) = add_extra_images(config, source).doubts
    assert doubt.startswith("8 extra images are also labelled images, such as")
    again = config_again(config)
    again.train_dataloader.dataset.update(indices=-3, filter_cfg=None)
    (doubt,) = add_extra_images(again, source).doubts
    assert doubt.startswith("3 extra images are also labelled images, such as")


def test_copies_of_test_are_refused(config, digit_scenes, tmp_path):
    shutil.copytree(digit_scenes / "test", tmp_path / "extra")
    with pytest.raises(ValueError, match=r"4 extra images are also in test_dataloader, such as .*extra"):
        add_extra_images(config, str(tmp_path / "extra"))


@pytest.mark.parametrize(
    "change, said",
    [
        (dict(bbox=None), r"1 of \d+ boxes are not four numbers x, y, width, height"),
        (dict(bbox=[1.0, 1.0, float("nan"), 2.0]), r"1 of \d+ boxes are not four numbers"),
        (dict(category_id=7), r"1 of \d+ annotations are of a category that the file does not list"),
        (dict(image_id="0.png"), r"1 of \d+ annotations are of an image that the file does not list"),
    ],
)
def test_what_is_wrong_with_boxes_is_refused(config, folder, digit_scenes, change, said):
    """Left out, an object would be background."""
    source = write_boxes(folder, digit_scenes, list("0123456789"))
    file = Path(source.partition(":")[0])
    content = json.loads(file.read_text())
    content["annotations"][3].update(change)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=said):
        add_extra_images(config, source)
    content["categories"] = [dict(id=1)]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="1 of 1 categories lack 'id' or 'name': write both"):
        add_extra_images(config, source)


def test_ids_that_are_words_are_matched(config, folder, digit_scenes):
    """COCO's API would find no box of an image."""
    source = write_boxes(folder, digit_scenes, list("0123456789"))
    file = Path(source.partition(":")[0])
    content = json.loads(file.read_text())
    content["annotations"] = [
        dict(box, image_id=str(box["image_id"]), category_id=str(box["category_id"])) for box in content["annotations"]
    ]
    file.write_text(json.dumps(content))
    add_extra_images(config, source)
    made = json.loads(Path(config.train_dataloader.dataset.datasets[1].ann_file).read_text())
    assert len(made["annotations"]) == len(content["annotations"])
    assert {box["image_id"] for box in made["annotations"]} <= {image["id"] for image in made["images"]}


def test_boxes_of_no_class_of_the_student(config, folder, digit_scenes):
    source = write_boxes(folder, digit_scenes, list("0123456789"))
    file = Path(source.partition(":")[0])
    content = json.loads(file.read_text())
    content["categories"].append(dict(id=200, name="cat"))
    content["annotations"] = [dict(box, category_id=200) for box in content["annotations"]]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"none of the \d+ boxes of .* is of a class of the student"):
        add_extra_images(config, source)


def test_a_leak_into_a_file_of_lvis(config, folder, digit_scenes, tmp_path):
    """Its images have no `file_name`."""
    content = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    for image in content["images"]:
        image["coco_url"] = "http://images.cocodataset.org/" + image.pop("file_name")
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    config.test_dataloader.dataset.ann_file = str(tmp_path / "lvis.json")
    with pytest.raises(ValueError, match=r"4 extra images are also in test_dataloader"):
        add_extra_images(config, str(digit_scenes / "test"))


def test_what_does_not_go_together_is_refused(config, folder, digit_scenes):
    source = write_boxes(folder, digit_scenes, list("0123456789"))
    for share, number in ((0.05, 0), (0.95, 4)):
        with pytest.raises(ValueError, match=rf"--extra-share {share} of a batch of 4 is {number} images"):
            add_extra_images(config, source, share)
    config.train_dataloader.sampler = dict(type="ClassAwareSampler")
    with pytest.raises(ValueError, match=r"--extra mixes the images itself, and the training has a ClassAwareSampler"):
        add_extra_images(config, source)
    assert not Path(config.work_dir).exists()  # nothing was written before


def test_boxes_without_masks_are_refused_for_a_student_of_masks(config, folder, digit_scenes):
    config.train_dataloader.dataset.pipeline[1].with_mask = True
    with pytest.raises(ValueError, match=r"the student trains on masks, and \d+ boxes of .* have none: take a student"):
        add_extra_images(config, write_boxes(folder, digit_scenes, list("0123456789")))


def test_batches_are_not_grouped_and_wrappers_stay(config, folder, digit_scenes, tmp_path):
    config.train_dataloader.batch_sampler = dict(type="AspectRatioBatchSampler", drop_last=True)
    inner = config.train_dataloader.dataset
    inner.filter_cfg = dict(filter_empty_gt=True)
    packing = inner.pipeline.pop()
    config.train_dataloader.dataset = dict(
        type="MultiImageMixDataset", dataset=inner, pipeline=[dict(type="MixUp", img_scale=(128, 128)), packing]
    )
    made = distilled(config, tmp_path)
    (doubt,) = add_extra_images(made, str(folder)).doubts
    assert doubt.startswith("batches are not grouped by aspect ratio") and "batch_sampler" not in made.train_dataloader
    assert made.train_dataloader.drop_last and made.train_dataloader.sampler.drop_last
    init_default_scope("mmdet")
    mixed = DATASETS.build(made.train_dataloader.dataset).datasets[1]
    assert type(mixed).__name__ == "MultiImageMixDataset" and len(mixed) == 4  # those without a box, too
    assert mixed[0]["data_samples"].metainfo[UNLABELLED]


def test_the_parts_of_a_repeated_concatenation_are_not_extra_images(config, folder, digit_scenes, tmp_path):
    """As in MMDetection's configs of VOC: `RepeatDataset` of a `ConcatDataset`."""
    inner = config.train_dataloader.dataset
    both = dict(type="ConcatDataset", datasets=[inner, inner])
    config.train_dataloader.dataset = dict(type="RepeatDataset", times=3, dataset=both)
    init_default_scope("mmdet")
    made = distilled(config, tmp_path)
    for given, source in ((config, write_boxes(folder, digit_scenes, list("0123456789"))), (made, str(folder))):
        add_extra_images(given, source)
        labelled, extra = DATASETS.build(given.train_dataloader.dataset).datasets
        assert len(labelled) == 3 * 16
        names = {Path(extra[place]["data_samples"].img_path).parent for place in range(len(extra))}
        assert names == {folder}


def test_labelled_images_in_vocs_format(config, folder, digit_scenes, tmp_path):
    """As in MMDetection's config of VOC, read by workers that stay over two epochs."""
    root = tmp_path / "VOC2007"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    (root / "ImageSets/Main/trainval.txt").write_text("000\n001\n002\n003\n")
    for number, image in enumerate(sorted(digit_scenes.glob("train/*.png"))[:4]):
        Image.open(image).save(root / f"JPEGImages/{number:03d}.jpg")
        box = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>60</xmax><ymax>70</ymax></bndbox>"
        objects = f"<object><name>dog</name><difficult>0</difficult>{box}</object>"
        size = "<size><width>128</width><height>128</height><depth>3</depth></size>"
        (root / f"Annotations/{number:03d}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    inner = config.train_dataloader.dataset
    voc = dict(type="VOCDataset", data_root=f"{tmp_path}/", ann_file="VOC2007/ImageSets/Main/trainval.txt")
    voc |= dict(data_prefix=dict(sub_data_root="VOC2007/"), pipeline=inner.pipeline)
    config.train_dataloader.dataset = dict(type="RepeatDataset", times=2, dataset=voc)
    config.train_dataloader.update(num_workers=1, persistent_workers=True)
    names = ["cat", "dog", "car", "bus", "person", "cow", "horse", "boat", "bird", "chair"]
    extra = add_extra_images(config, write_boxes(folder, digit_scenes, names))
    assert all("background there" in doubt for doubt in extra.doubts)
    init_default_scope("mmdet")
    loader = Runner.build_dataloader(config.train_dataloader)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == 2
        for batch in batches:
            samples = batch["data_samples"]
            kinds = [Path(sample.img_path).suffix for sample in samples]
            assert kinds == [".jpg", ".jpg", ".png", ".png"]
            classes = loader.dataset.metainfo["classes"]
            named = [{classes[label] for label in sample.gt_instances.labels} for sample in samples]
            assert named[0] == named[1] == {"dog"} and named[2] | named[3] <= set(names)


def test_boxes_need_no_area_and_no_iscrowd(config, folder, digit_scenes):
    """Of a file that another tool wrote; MMDetection reads both."""
    source = write_boxes(folder, digit_scenes, list("0123456789"))
    file = folder.parent / "boxes.json"
    content = json.loads(file.read_text())
    for box in content["annotations"]:
        del box["area"], box["iscrowd"]
    file.write_text(json.dumps(content))
    add_extra_images(config, source)
    written = json.loads(Path(config.train_dataloader.dataset.datasets[1].ann_file).read_text())["annotations"]
    assert written and all(box["area"] == box["bbox"][2] * box["bbox"][3] and box["iscrowd"] == 0 for box in written)


def test_classes_in_another_order_than_in_the_file(config, folder, digit_scenes):
    """The student's labels are numbered as in its file; its names stay those of its config, one for all images."""
    classes = tuple("1023456789")
    config.train_dataloader.dataset.metainfo.classes = classes
    add_extra_images(config, write_boxes(folder, digit_scenes, list("0123456789")))
    init_default_scope("mmdet")
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert dataset.metainfo["classes"] == classes
    given = json.loads((digit_scenes / "annotations" / "test.json").read_text())
    labels = [box["bbox_label"] for part in range(4) for box in dataset.datasets[1].get_data_info(part)["instances"]]
    assert sorted(labels) == sorted(box["category_id"] - given["categories"][0]["id"] for box in given["annotations"])


def test_a_random_crop_keeps_images_without_labels(config, folder, tmp_path):
    step = dict(type="RandomCrop", crop_size=(64, 64))
    config.train_dataloader.dataset.pipeline.insert(-1, step)
    made = distilled(config, tmp_path)
    add_extra_images(made, str(folder))
    init_default_scope("mmdet")
    _, extra = DATASETS.build(made.train_dataloader.dataset).datasets
    extra.max_refetch = 2
    assert extra[0]["data_samples"].metainfo[UNLABELLED]
    assert made.train_dataloader.dataset.datasets[0].pipeline[-2] == step


def test_hooks_change_the_pipeline_of_all_images(config, folder, tmp_path):
    """`PipelineSwitchHook` of RTMDet, and `YOLOXModeSwitchHook`, which reach the loader's data set alone."""
    made = distilled(config, tmp_path)
    crop = dict(type="RandomChoice", transforms=[[dict(type="RandomCrop", crop_size=(32, 32))]])
    pipeline = [*made.train_dataloader.dataset.pipeline[:-1], crop]
    pipeline.append(made.train_dataloader.dataset.pipeline[-1])
    add_extra_images(made, str(folder))
    init_default_scope("mmdet")
    dataset = DATASETS.build(made.train_dataloader.dataset)
    runner = SimpleNamespace(
        epoch=1, max_epochs=2, logger=logging.getLogger(), train_dataloader=SimpleNamespace(dataset=dataset)
    )
    PipelineSwitchHook(1, pipeline).before_train_epoch(runner)
    for place in (0, 8):
        assert dataset[place]["inputs"].shape == (3, 32, 32)
        assert dataset[place]["data_samples"].metainfo.get(UNLABELLED, False) == (place == 8)

    again = config_again(made)
    inner = again.train_dataloader.dataset
    packing = inner.pipeline.pop()
    mixed = [dict(type="MixUp", img_scale=(128, 128)), packing]
    again.train_dataloader.dataset = dict(type="MultiImageMixDataset", dataset=inner, pipeline=mixed)
    add_extra_images(again, str(folder))
    runner.train_dataloader.dataset = dataset = DATASETS.build(again.train_dataloader.dataset)
    runner.model = SimpleNamespace(bbox_head=SimpleNamespace())
    YOLOXModeSwitchHook(1).before_train_epoch(runner)
    assert all("MixUp" in part._skip_type_keys for part in dataset.datasets)
    assert dataset[8]["data_samples"].metainfo[UNLABELLED]
