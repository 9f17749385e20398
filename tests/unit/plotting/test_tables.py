import pytest
from rich.console import Console

from tesp.errors import RunFolderError
from tesp.plotting.tables import EvaluationRow, evaluation_rows, markdown_table, rich_table

from .stored import evaluation, evaluations, read, reference

RECORDS = [
    reference("train", -150.04),
    evaluation(25, 1, -30.26, average_return_std=4.04, success_rate=0.995, final_distance=0.126),
    evaluation(25, 0, -61.0, success_rate=0.0, episode_length=199.6),
    evaluation(25, 0, -80.0, task_set="out_of_distribution", final_distance=None),
    evaluation(25, 1, -70.0, task_set="out_of_distribution", final_distance=float("nan")),
    evaluation(0, 0, -99.0),
]


def test_rows_are_the_last_evaluation_in_the_papers_order():
    rows = evaluation_rows(read(RECORDS))
    assert rows[:4] == [
        EvaluationRow("train", None, -150.04, reference="standing still"),
        EvaluationRow("train", None, None, reference="oracle"),
        EvaluationRow("train", 0, -61.0, 4.0, 0.0, 0.5, 199.6),
        EvaluationRow("train", 1, -30.26, 4.04, 0.995, 0.126, 180.0),
    ]
    assert [(row.task_set, row.fast_update, row.reference) for row in rows[4:]] == [
        ("out_of_distribution", None, "oracle"),
        ("out_of_distribution", 0, None),
        ("out_of_distribution", 1, None),
    ]


def test_the_oracles_row_is_the_last_round_of_its_last_evaluation():
    oracle = read(evaluations(0, 50, algorithm="oracle", shift=7.0, final_distance=0.04))
    rows = evaluation_rows(read(RECORDS), oracle=oracle)
    # −100 + 50 + 10·1 + 7
    assert rows[1] == EvaluationRow("train", None, -33.0, 4.0, 0.25, 0.04, 180.0, "oracle")
    assert rows[4].average_return == -33.0
    assert "| Training tasks D | oracle | −33.0 ± 4.0 | 25 % | 0.04 | 180 |" in markdown_table(rows)


def test_an_oracle_is_not_measured_by_another():
    rows = evaluation_rows(read([reference(), *evaluations(0, algorithm="oracle")], algorithm="oracle"))
    assert [row.reference for row in rows[:3]] == ["standing still", None, None]
    assert not any(row.reference == "oracle" for row in rows)


def test_standing_still_shows_what_its_record_holds():
    record = reference() | {"average_return_std": 30.0, "final_distance": 0.75, "episode_length": 200.0}
    rows = evaluation_rows(read([record, evaluation(0, 0, -9.0)]))
    assert rows[0] == EvaluationRow("train", None, -150.0, 30.0, None, 0.75, 200.0, "standing still")
    assert "| standing still | −150.0 ± 30.0 | – | 0.75 | 200 |" in markdown_table(rows)


def test_an_earlier_evaluation_can_be_chosen():
    rows = evaluation_rows(read(RECORDS), meta_update=0)
    assert [row.average_return for row in rows] == [-150.04, None, -99.0]


def test_a_run_without_evaluation_is_refused():
    with pytest.raises(RunFolderError, match="holds no evaluation"):
        evaluation_rows(read([reference()]))


def test_the_markdown_table_is_written_as_by_hand():
    assert markdown_table(evaluation_rows(read(RECORDS))) == (
        "| task set | fast-updates | return (m·steps) | success | final distance (m) | episode length |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| Training tasks D | standing still | −150.0 | – | – | – |\n"
        "| Training tasks D | oracle | – | – | – | – |\n"
        "| Training tasks D | 0 | −61.0 ± 4.0 | 0 % | 0.50 | 200 |\n"
        "| Training tasks D | 1 | −30.3 ± 4.0 | 100 % | 0.13 | 180 |\n"
        "| Outside the distribution D″ | oracle | – | – | – | – |\n"
        "| Outside the distribution D″ | 0 | −80.0 ± 4.0 | 25 % | – | 180 |\n"
        "| Outside the distribution D″ | 1 | −70.0 ± 4.0 | 25 % | – | 180 |\n"
    )


def test_the_terminal_table_fits_into_80_characters_unbroken():
    rows = [
        EvaluationRow(row.task_set, None, -150.0, reference="standing still")
        for row in evaluation_rows(read(evaluations(0)))
    ]
    rows += evaluation_rows(read(evaluations(0, shift=-100.0, average_return_std=27.6)))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(rich_table(rows, title="Run"))
    assert "D (training)                0   −200.0 ± 27.6      25 %       0.50       180" in capture.get()
    assert "standing still" in capture.get()
    assert max(map(len, capture.get().splitlines())) <= 80
