"""What of a checkpoint fits a model."""

import torch

from pcka_mmdet.checkpoints.matching import Problem, load_what_fits, of_part, summarise


def test_what_fits_is_loaded_and_the_rest_is_told():
    layer = torch.nn.Linear(3, 2)
    weights = {"weight": torch.full((2, 3), 5.0), "bias": torch.zeros(4), "extra": torch.zeros(1)}
    loaded, problems = load_what_fits(layer, weights)
    assert loaded == ["weight"] and (layer.weight == 5).all()
    assert [problem.key for problem in problems] == ["bias", "extra"]
    shapes = "bias: shape (4) in the checkpoint, (2) in the model"
    assert summarise(problems) == f"{shapes}; unexpected extra"
    assert summarise(problems, most=1) == f"{shapes} and 1 more"
    loaded, problems = load_what_fits(layer, {})
    assert (loaded, list(map(str, problems))) == ([], ["missing weight", "missing bias"])


class Renamed(torch.nn.Linear):
    """Takes its bias by an old name too, as MMDetection's heads do."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if f"{prefix}old_bias" in state_dict:
            state_dict[f"{prefix}bias"] = state_dict.pop(f"{prefix}old_bias")
        super()._load_from_state_dict(state_dict, prefix, *args)


def test_old_names_are_what_the_modules_say():
    model = torch.nn.Sequential(Renamed(3, 2))
    old = {"0.weight": torch.ones(2, 3), "0.old_bias": torch.full((2,), 7.0)}
    assert load_what_fits(model, old) == (["0.weight", "0.bias"], []) and (model[0].bias == 7).all()


def test_a_part_is_named_from_its_beginning():
    problems = [Problem(key, f"missing {key}") for key in ("neck.bias", "text.language_neck.bias", "necks.a")]
    assert of_part(problems, "neck") == problems[:1]
