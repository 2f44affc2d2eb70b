"""What is read back from MMEngine's logs, whole or torn."""

import json

import pytest

from pcka_mmdet.report import scalars


def train(iteration: int, time: float, **values: float) -> dict:
    return {"loss": 1.0, "time": time, "epoch": 1, "iter": iteration, "step": iteration, **values}


def validation(epoch: int, value: float) -> dict:
    return {"coco/bbox_mAP": value, "coco/bbox_mAP_l": -1.0, "time": 0.1, "step": epoch}


def write(folder, timestamp, records, tail=""):
    path = folder / timestamp / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records) + tail)


def test_a_torn_last_line_is_left_out(tmp_path):
    write(tmp_path, "20260101_000000", [train(25, 0.1)], tail='{"loss": 0.9, "time": 0.')
    assert scalars.read_scalars(tmp_path) == [train(25, 0.1)]


def test_no_log_yet(tmp_path):
    assert scalars.read_scalars(tmp_path) == []
    assert scalars.training_seconds([], 100) == 0.0


def test_what_a_resumed_run_repeats_counts_once(tmp_path):
    write(tmp_path, "20260102_000000", [train(75, 2.0), train(100, 2.0), validation(2, 0.2)])
    write(tmp_path, "20260101_000000", [train(25, 1.0), train(50, 1.0), validation(1, 0.1), train(75, 9.0)])
    records = scalars.read_scalars(tmp_path)
    assert [record["time"] for record in scalars.training_records(records)] == [1.0, 1.0, 2.0, 2.0]
    assert scalars.training_seconds(records, 100) == 50 * 1.0 + 50 * 2.0
    assert list(scalars.validation_records(records)) == [1, 2]


def test_nothing_is_left_of_a_training_that_was_begun_anew(tmp_path):
    """Its epochs and validations differed."""
    abandoned = [record for epoch in (1, 2, 3) for record in (train(50 * epoch, 9.0), validation(epoch, 0.01))]
    write(tmp_path, "20260101_000000", abandoned)
    write(tmp_path, "20260102_000000", [])  # a run that was killed before its first record
    anew = [train(50, 1.0), train(75, 1.0), validation(1, 0.5)]
    write(tmp_path, "20260103_000000", anew)
    assert scalars.read_scalars(tmp_path) == anew


@pytest.mark.parametrize("interval", [10, 100])
def test_nothing_is_left_of_one_with_another_interval(tmp_path, interval):
    abandoned = [train(interval * i, 9.0) for i in (1, 2, 3)]
    write(tmp_path, "20260101_000000", [*abandoned, validation(2, 0.02)])
    anew = [train(50, 1.0), train(100, 1.0)]
    write(tmp_path, "20260102_000000", anew)
    assert scalars.read_scalars(tmp_path) == anew


def test_the_last_value_of_any_metric(tmp_path):
    values = {"coco/bbox_mAP": 0.5, "coco/segm_mAP": 0.4, "coco/bbox_mAP_50": 0.7, "time": 0.1, "step": 1}
    write(tmp_path, "20260101_000000", [train(50, 1.0), values])
    values = [scalars.last_metric(tmp_path, name) for name in ("bbox_mAP", "segm_mAP", "coco/bbox_mAP", "bbox_mAP_50")]
    assert values == [0.5, 0.4, 0.5, 0.7]
    with pytest.raises(
        ValueError, match=r"have no mAP_75, only .*: name one in the config, teacher_check=dict\(metric='"
    ):
        scalars.last_metric(tmp_path, "mAP_75")


def test_iterations_of_an_epoch():
    """Exact with two epochs; or once the end of one was logged, also in an epoch that was not finished."""
    logged = [dict(iter=95 * epoch + 50, epoch=epoch + 1) for epoch in range(3)]  # an interval of 50, epochs of 95
    assert scalars.iterations_per_epoch(logged) == 95
    assert scalars.iterations_per_epoch(logged[1:]) == 95 and scalars.iterations_per_epoch(logged[1:2]) == 72.5
    assert scalars.iterations_per_epoch([dict(iter=1000, epoch=1), dict(iter=1050, epoch=2)]) == 1000
    sparse = [dict(iter=50, epoch=1), dict(iter=100, epoch=2), dict(iter=350, epoch=5)]
    assert scalars.iterations_per_epoch(sparse) == 70
    assert scalars.iterations_per_epoch([dict(iter=50)]) is None


def test_iterations_after_the_last_record_count_at_its_pace():
    assert scalars.training_seconds([train(25, 1.0), train(50, 2.0)], 60) == 25 * 1.0 + 25 * 2.0 + 10 * 2.0


def test_validations_by_epoch():
    records = [train(25, 1.0), validation(10, 0.2), validation(5, 0.1), validation(10, 0.3)]
    assert scalars.validation_records(records) == {
        5: {"bbox_mAP": 0.1, "bbox_mAP_l": -1.0},
        10: {"bbox_mAP": 0.3, "bbox_mAP_l": -1.0},
    }


def test_nothing_detected_is_an_ap_of_zero():
    assert scalars.metrics({"data_time": 0.1, "time": 0.2, "step": 5}) == {"bbox_mAP": 0.0}


def test_metrics_of_other_evaluators_have_their_own_names():
    assert scalars.metrics({"pascal_voc/mAP": 0.71, "pascal_voc/AP50": 0.9, "time": 0.2}) == {
        "pascal_voc/mAP": 0.71,
        "pascal_voc/AP50": 0.9,
    }
    assert scalars.metrics({"mine/bbox_mAP": 0.3, "mine/bbox_mAP_copypaste": "0.3 0.5"}) == {"bbox_mAP": 0.3}


def test_the_newest_test_counts(tmp_path):
    for timestamp, value in (("20260101_000000", 0.1), ("20260102_000000", 0.2)):
        (tmp_path / timestamp).mkdir()
        record = {"coco/bbox_mAP": value, "coco/bbox_mAP_copypaste": "0.1 0.2", "time": 1.0}
        (tmp_path / timestamp / f"{timestamp}.json").write_text(json.dumps(record))
    assert scalars.read_test_metrics(tmp_path) == {"bbox_mAP": 0.2}


def test_no_test_is_an_error_that_says_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}.*TIMESTAMP\.json"):
        scalars.read_test_metrics(tmp_path)


def test_validations_of_a_training_by_iterations():
    """MMEngine writes step 0 for each of them."""
    records = [train(100, 0.1), validation(0, 0.2), train(200, 0.1), validation(0, 0.3)]
    validations = scalars.validation_records(records)
    assert {step: values["bbox_mAP"] for step, values in validations.items()} == {100: 0.2, 200: 0.3}


def test_the_last_metric_of_a_work_directory(tmp_path):
    with pytest.raises(ValueError, match="there is no validation in the log of '.*': name the work directory"):
        scalars.last_metric(tmp_path)
    write(tmp_path, "20260101_000000", [validation(1, 0.2), train(5, 0.1), validation(2, 0.3)])
    assert scalars.last_metric(tmp_path) == 0.3
    write(tmp_path, "20260102_000000", [{"a/bbox_mAP": 0.4, "step": 3}])
    assert scalars.last_metric(tmp_path) == 0.4
    write(tmp_path, "20260103_000000", [{"time": 0.1, "step": 4}])  # nothing was detected
    assert scalars.last_metric(tmp_path) == 0.0
    write(tmp_path, "20260104_000000", [{"pascal_voc/mAP": 0.5, "step": 5}])
    with pytest.raises(ValueError, match="have no bbox_mAP, only pascal_voc/mAP"):
        scalars.last_metric(tmp_path)
