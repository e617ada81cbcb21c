"""One distillation run: teach in rounds, score what was held out, and say what a user gets."""

from functools import partial

from jobs.distillation.plan import DistilPlan, make_plan
from jobs.distillation.plots import make_plots
from jobs.distillation.rounds import held_out_maps, teach
from jobs.distillation.scores import scores
from jobs.training.fit import OnEpoch
from jobs.training.run import Result, run_plan
from saliency_core.networks.saliency_head import student_weights


def run(plan: DistilPlan, on_epoch: OnEpoch) -> list[str]:
    """Do a planned run, or go on with it; return what came of it, for a person. See `jobs.training.run.run_plan`."""
    found = run_plan(plan, make_plan, partial(_teach, on_epoch=on_epoch))
    lines = [
        f"{found['images']['train']} images taught in {found['seconds'] / 60:.1f} minutes; the head of epoch "
        f"{found['best_epoch']} is {found['validation_difference']:.3f} from the target on images held out"
    ]
    if found["scores"]:
        teacher, student = (found["scores"][name]["f_beta_of_mean_curve"] for name in ("teacher", "student"))
        lines.append(f"F-beta A on images held out: student {student:.3f}, teacher {teacher:.3f}")
    return lines


def _teach(plan: DistilPlan, on_epoch: OnEpoch) -> Result:
    taught = teach(plan, on_epoch)
    plan.head.load_state_dict(dict(taught.head))
    found = scores(plan.teacher, taught.parts["validation"], held_out_maps(plan, taught))
    rounds = [row for row in taught.history if row["round"] == plan.settings.rounds]
    best = rounds[taught.best_epoch - 1]
    return Result(
        weights=student_weights(plan.classifier, plan.head),
        history=taught.history,
        plots=make_plots(taught.history, taught.best_epoch),
        record={
            "images": {part: len(table) for part, table in taught.parts.items()},
            "epochs": len(rounds),
            "best_epoch": taught.best_epoch,
            "stopped_early": taught.stopped_early,
            "validation_difference": best["validation_difference"],
            "scores": {name: vars(figures) for name, figures in vars(found).items()} if found else None,
        },
        card={"grid": plan.head.grid, "best": best},
    )
