"""The model-index: what the hub's own library reads from it are the run's scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results
from support.export_runs import Exportable

from migbench.errors import UsageError
from migbench.reporting.export import Wishes, write_export
from migbench.scoring.scored_run import ScoredRun


def exported(out: Path, scored: ScoredRun, **wishes: Any) -> dict[str, Any]:
    write_export("model-index", scored, out, Wishes(**wishes))
    content: dict[str, Any] = yaml.safe_load(out.read_text("utf-8"))
    return content


def test_the_hubs_library_reads_the_scores(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored()
    content = exported(tmp_path / "index.yaml", scored, source_url="https://example.org/run")
    name, results = model_index_to_eval_results(content["model-index"])
    assert name == "llava-onevision-7b"
    scores = scored.scores
    expected = [scores.macro, *scores.tasks.values()]
    assert [each.metric_value for each in results] == [
        round(one.at_50 or 0.0, 2) for one in expected
    ]
    assert results[0].metric_name == "Acc@0.5, mean of 10 tasks"
    assert results[1].metric_name == "Acc@0.5, Static difference"
    for each, figures in zip(results, expected, strict=True):
        assert each.metric_type == "accuracy"
        assert each.task_type == "image-text-to-text"
        assert each.source_url == "https://example.org/run"
        assert each.metric_args["targets"] == figures.n
        interval = figures.interval()
        if interval:
            assert each.metric_args["interval_95"] == [
                round(interval.low, 2),
                round(interval.high, 2),
            ]
        else:
            assert "interval_95" not in each.metric_args
    assert any("interval_95" in each.metric_args for each in results)
    assert results[0].dataset_args["protocol"] == "standard"
    assert (
        results[0].dataset_args["annotations_content_sha256"] == scores.annotations.content_sha256
    )


def test_it_fits_into_the_front_matter_of_a_card(run: Exportable, tmp_path: Path) -> None:
    exported(tmp_path / "index.yaml", run.scored())
    text = (tmp_path / "index.yaml").read_text("utf-8")
    card = ModelCard(f"---\n{text}---\n\n# A model\n")
    assert isinstance(card.data, ModelCardData)
    assert card.data.eval_results
    assert len(card.data.eval_results) == 11


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("original", "Michael4933/MIG-Bench"),
        ("revised", "MIG-Bench-revised"),
        ("custom", "MIG_mini.json ("),
    ],
)
def test_only_the_papers_file_is_the_hubs_data_set(
    run: Exportable, tmp_path: Path, version: str, kind: str
) -> None:
    scored = run.scored()
    annotations = msgspec.structs.replace(scored.scores.annotations, version=version)
    scores = msgspec.structs.replace(scored.scores, annotations=annotations)
    content = exported(tmp_path / "index.yaml", replace(scored, scores=scores))
    (result,) = content["model-index"][0]["results"]
    assert result["dataset"]["type"].startswith(kind)
    assert result["dataset"]["args"]["annotations"].startswith(
        kind if version == "custom" else version
    )
    assert "source" not in result


def test_an_incomplete_run_has_no_mean(run: Exportable, tmp_path: Path) -> None:
    content = exported(tmp_path / "index.yaml", run.scored("part"))
    (result,) = content["model-index"][0]["results"]
    names = [each["name"] for each in result["metrics"]]
    assert len(names) == 9
    assert not any("mean" in name for name in names)


def test_a_run_without_any_accuracy_is_refused(run: Exportable, tmp_path: Path) -> None:
    scored = run.scored()
    tasks = {
        key: msgspec.structs.replace(one, at_50=None) for key, one in scored.scores.tasks.items()
    }
    macro = msgspec.structs.replace(scored.scores.macro, at_50=None)
    scores = msgspec.structs.replace(scored.scores, tasks=tasks, macro=macro)
    with pytest.raises(UsageError, match="no task has all its answers yet"):
        exported(tmp_path / "index.yaml", replace(scored, scores=scores))
    assert not any(tmp_path.iterdir())
