"""One run: teach both networks, score them on what was held out, and say what a user gets."""

from functools import partial

from jobs.multi_context.asking import score_both
from jobs.multi_context.plan import MultiContextPlan, make_plan
from jobs.multi_context.plots import make_plots
from jobs.multi_context.stages import teach
from jobs.training.fit import OnEpoch
from jobs.training.run import Result, run_plan
from saliency_core.methods.window_network import multi_context_weights


def run(plan: MultiContextPlan, on_epoch: OnEpoch) -> list[str]:
    """Do a planned run, or go on with it; return what came of it, for a person. See `jobs.training.run.run_plan`."""
    found = run_plan(plan, make_plan, partial(_teach, on_epoch=on_epoch))
    lines = [f"{found['images']['train']} images taught in {found['seconds'] / 60:.1f} minutes"]
    if found["scores"]:
        first, both = (found["scores"][name]["f_beta_of_mean_curve"] for name in ("global", "multi_context"))
        lines.append(f"F-beta A on images held out: first stage {first:.3f}, both {both:.3f}")
    return lines


def _teach(plan: MultiContextPlan, on_epoch: OnEpoch) -> Result:
    taught = teach(plan, on_epoch)
    networks = taught.networks.eval().requires_grad_(False)
    found = score_both(plan, networks, taught.sets["validation"])
    figures = {"global": found.first, "multi_context": found.both} if found else {}
    best = {
        stage: next(row for row in taught.history if (row["stage"], row["epoch"]) == (stage, epoch))
        for stage, epoch in taught.best_epochs.items()
    }
    return Result(
        weights=multi_context_weights(plan.classifier.name, plan.classifier.preprocessing, networks),
        history=taught.history,
        plots=make_plots(taught.history, taught.best_epochs),
        record={
            "epochs": len(taught.history),
            "best_epochs": taught.best_epochs,
            "scores": {name: vars(own) for name, own in figures.items()} or None,
        },
        card={"best": best},
    )
