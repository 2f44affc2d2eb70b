"""The plot of both sides of Theorem 2."""

import json


def test_the_sides_of_the_theorem(tmp_path, command):
    """Of a log as research/configs/demo/theorem.py writes it."""
    records = [
        {f"{key}_s{stride}": value for stride in (8, 16) for key, value in step.items()} | dict(iter=i, time=0.1)
        for i, step in (
            (1, {"similarity.pcka": 0.5, "distill.loss_mmd": 2e-5}),
            (2, {"similarity.pcka": 0.9, "distill.loss_mmd": 1e-6}),
        )
    ]
    log = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = command("-m", "research.figures.theorem_curves", tmp_path, "--out", tmp_path / "theorem.png")
    assert "stride 8: bound 2.44e-04 to 4.88e-05, MMD 2.00e-05 to 1.00e-06" in done.stdout
    assert (tmp_path / "theorem.png").read_bytes().startswith(b"\x89PNG")
    done = command("-m", "research.figures.theorem_curves", tmp_path / "none", check=False)
    assert (
        done.returncode == 2
        and "holds no log of MMD: train research/configs/demo/theorem.py there first" in done.stderr
    )
