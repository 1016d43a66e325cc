"""Ablations are the packaged recipes less some sources, reported in the paper's layout."""

from __future__ import annotations

from pathlib import Path

from migtrain.miniature import ablations
from migtrain.miniature.recipe import Scenes, find_recipe


def test_ablations_leave_sources_out_of_packaged_recipes(tmp_path: Path) -> None:
    plan = ablations.AblationPlan(tmp_path, tmp_path / "start", tmp_path / "data", steps=7)
    run = ablations.SeedRun(plan, seed=5)
    made = [each for each in ablations.PLAN if isinstance(each, ablations.Training)]
    for training in made:
        path = tmp_path / f"{training.name}.yaml"
        path.write_text(run.recipe(training), "utf-8")
        recipe, packaged = find_recipe(str(path)), find_recipe(training.recipe)
        asked = {source.task for source in recipe.sources.values() if isinstance(source, Scenes)}
        assert asked == {
            "single_grounding" if task in ablations.ONE_IMAGE else task
            for task in training.tasks
            if task in packaged.sources
        }
        assert recipe.stages[0].shares.keys() == recipe.sources.keys() != set()
        assert (recipe.seed, recipe.stages[0].steps) == (5, 7)
        begins = run.model(training.begins) if training.begins else plan.start
        assert recipe.model.checkpoint == str(begins)
    assert {"stage 1", "full data", "only diff"} <= {training.name for training in made}


def test_ablations_are_told_in_the_layout_of_the_paper() -> None:
    names = ["base", *(each.name for each in ablations.PLAN)]
    found = {name: {task: [50.0, 60.0, 70.0] for task in ablations.COLUMNS} for name in names}
    found["without single images"] = {task: [40.0, 41.0, 42.0] for task in ablations.COLUMNS}
    stages, parts, methods = ablations.report(found).split("\n\n")
    assert [line.split("  ")[0] for line in stages.splitlines()[2:]] == [
        "base", "stage 1", "stage 2", "merged"
    ]  # fmt: skip
    assert stages.splitlines()[-1].endswith("60.0 ±10.0")
    assert parts.splitlines()[-1].split()[-3:] == ["41.0", "±1.0", "-19.0"]
    assert methods.splitlines()[-1].split()[:2] == ["Model", "Merging"]
