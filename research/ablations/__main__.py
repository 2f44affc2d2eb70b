"""The ablations of PCKA: `python -m research.ablations run` trains each variant on the demo's pair with three seeds.
`again digits NAME` trains a row of the results anew. `page` writes `results.md`. `coco` trains nothing: it writes the
variants' complete configs for COCO into the work directory, for `tools/train.py`."""

from pathlib import Path

from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.models.recipes import write_out_recipe
from research.trainings.command import make_parser, train, with_messages
from research.trainings.results import Results

from .ablations import ALONE, Ablation, file_name, read_ablations, trainings, vary
from .trials import EPOCHS, SEEDS, TEACHER_EPOCHS, Trial, variants

PACKAGE = "research.ablations"
PAGE = Path(__file__).with_name("results.md")

COCO = "pcka_mmdet::retinanet/pcka_fpn_retinanet_x101_retinanet_r50_2x_coco.py"
"""The distillation that is varied on COCO."""


def trials() -> list[Trial]:
    """The trainings of all tables."""
    return [Trial(variant, seed) for seed in SEEDS for variant in (ALONE, *variants())]


def page(results: Results) -> str:
    """All tables in Markdown.

    Raises:
        Missing: Trainings are left.
    """
    values: dict[str, dict[int, float]] = {}
    for trial, value in zip(trials(), results.val(trials()), strict=True):
        values.setdefault(trial.variant, {})[trial.seed] = value
    ablations = read_ablations()
    found = trainings(ablations)
    sections = [
        f"## {table}\n\n{one.section({label: found[table, label][0] for label in one.demo}, values)}\n"
        for table, one in ablations.items()
    ]
    header = (
        "# Ablations of PCKA: results\n\nMade by `python -m research.ablations page` from `results/`. AP on val of the "
        f"demo's digits after {EPOCHS} epochs, {len(SEEDS)} seeds, with 95 % intervals over seeds. "
        f"The teacher trains for {TEACHER_EPOCHS} epochs.\n"
    )
    return "\n".join([header, *sections])


def write_configs(table: str, ablation: Ablation, folder: Path) -> None:
    """Write the complete config of each variant on COCO."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, options in ablation.coco.items():
        config = load_config(COCO)
        write_out_recipe(config.model)
        vary(config, options)
        path = folder / f"{table}_{file_name(name)}.py"
        config.dump(path)
        print(path)


def main() -> None:
    args = make_parser(PACKAGE, __doc__, ["run", "again", "page", "coco"], Path(__file__).parent).parse_args()
    results = Results(args.results)
    if args.action == "page":
        PAGE.write_text(page(results))
    elif args.action == "coco":
        for table, ablation in read_ablations().items():
            write_configs(table, ablation, args.work_dir)
    else:
        train(args, [lambda rows: rows.val(trials())], Trial.of_row, PACKAGE, pretrained=False)


if __name__ == "__main__":
    with_messages(main)
