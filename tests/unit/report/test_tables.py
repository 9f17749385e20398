from rich.console import Console

from helpers.stored import evaluation, evaluations, read, reference
from tesp.report.tables import evaluation_table

RECORDS = [
    reference("train", -150.04) | {"average_return_std": 30.0, "final_distance": 0.75},
    evaluation(25, 1, -30.26, average_return_std=27.64, success_rate=0.995, final_distance=0.126),
    evaluation(25, 0, -61.0, success_rate=0.0, episode_length=199.6),
    evaluation(25, 0, -80.0, task_set="out_of_distribution", final_distance=None),
    evaluation(25, 1, -270.0, task_set="out_of_distribution", final_distance=float("nan")),
    evaluation(0, 0, -99.0),
]


def table(*runs):
    """The lines of the table; none is wider than 80 characters."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(evaluation_table(*runs, title="Run"))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def printed(*runs):
    """The lines of the body as words, but for the names of task sets."""
    lines = table(*runs)
    return [line.split(") ")[1].split() for line in lines if line.startswith(" D")]


def test_references_frame_the_last_evaluation_of_every_task_set():
    assert printed(read(RECORDS)) == [
        ["standing", "still", "−150.0", "±", "30.0", "–", "0.75", "–"],
        ["oracle", "–", "–", "–", "–"],
        ["0", "−61.0", "±", "4.0", "0", "%", "0.50", "200"],
        ["1", "−30.3", "±", "27.6", "100", "%", "0.13", "180"],
        ["oracle", "–", "–", "–", "–"],
        ["0", "−80.0", "±", "4.0", "25", "%", "–", "180"],
        ["1", "−270.0", "±", "4.0", "25", "%", "–", "180"],
    ]


def test_returns_have_a_unit_where_distances_are_measured():
    without = read([evaluation(25, 1, -270.0, final_distance=None)])
    assert "(m·steps)" in "".join(table(read(RECORDS)))
    assert "(m·steps)" not in "".join(table(without))


def test_the_oracles_row_is_the_last_round_of_its_last_evaluation():
    oracle = read(evaluations(0, 50, algorithm="oracle", shift=7.0, final_distance=0.04))
    # −100 + 50 + 10·1 + 7
    told = ["oracle", "−33.0", "±", "4.0", "25", "%", "0.04", "180"]
    rows = printed(read(RECORDS), oracle)
    assert (rows[1], rows[4]) == (told, told)


def test_an_oracle_is_not_measured_by_another():
    rows = printed(read([reference(), *evaluations(0, algorithm="oracle")], algorithm="oracle"))
    assert [row[0] for row in rows] == ["standing", "0", "1", "0", "1", "0", "1"]
